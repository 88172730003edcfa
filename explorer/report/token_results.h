#ifndef EXPLORER_REPORT_TOKEN_RESULTS_H_
#define EXPLORER_REPORT_TOKEN_RESULTS_H_

#include <vector>

#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {

// What a sweep says of the text that it ran: "windows", "window_errors" of
// every plan on each, "token_summaries" and "token_percentiles" of every plan,
// and "tokens": all that are scored if there is one plan, else the worst of
// each.
std::vector<Table> TokenTables(const RunInfo& info, const SweepOptions& options,
                               const SweepResult& result);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_TOKEN_RESULTS_H_
