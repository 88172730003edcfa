#ifndef EXPLORER_REPORT_REPORT_H_
#define EXPLORER_REPORT_REPORT_H_

#include <string>

#include "explorer/report/run_info.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {

// Markdown for the terminal and report.md: the ranking, the tables of the best
// and the worst plan in the seed report's format, and the main effects. Of a
// sweep that was stopped it says so, what it has until then, and "-" for the
// rest.
std::string ReportText(const RunInfo& info, const SweepOptions& options,
                       const SweepResult& result);

// Everything that was measured, every figure of ReportText included. What is
// not a number (a growth after no error) or missing is null.
std::string ReportJson(const RunInfo& info, const SweepOptions& options,
                       const SweepResult& result);

// A row per plan, with the columns of the ranking; what is missing is empty.
std::string ReportCsv(const RunInfo& info, const SweepOptions& options,
                      const SweepResult& result);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_REPORT_H_
