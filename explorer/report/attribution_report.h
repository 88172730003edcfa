#ifndef EXPLORER_REPORT_ATTRIBUTION_REPORT_H_
#define EXPLORER_REPORT_ATTRIBUTION_REPORT_H_

#include <string>

#include "explorer/attribution/explain.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// Markdown for the terminal and report.md, of AttributionTables, the verdict
// first. The maps are at most 120 columns wide.
std::string AttributionReport(const RunInfo& info,
                              const Explanation& explanation,
                              const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_ATTRIBUTION_REPORT_H_
