#ifndef EXPLORER_REPORT_SWEEP_REPORT_H_
#define EXPLORER_REPORT_SWEEP_REPORT_H_

#include <string>

#include "explorer/report/frame.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {

// Markdown for the terminal and report.md, of SweepResults: the ranking, the
// layers of the best and the worst plan on the token alone, and what moved the
// outcome most.
std::string SweepReport(const RunInfo& info, const SweepOptions& options,
                        const SweepResult& result, const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_SWEEP_REPORT_H_
