#ifndef EXPLORER_REPORT_TOKEN_REPORT_H_
#define EXPLORER_REPORT_TOKEN_REPORT_H_

#include <set>
#include <string>

#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {

// What a sweep's report says of the text that was run, if there are tokens to
// predict: the summaries of the plans that are `printed`, and of one plan how
// tokens are distributed, and the worst of them. `shown` is the plan whose
// tokens are listed.
std::string TextSection(const RunInfo& info, const SweepOptions& options,
                        const PlanResult& shown,
                        const std::set<std::string>& printed,
                        const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_TOKEN_REPORT_H_
