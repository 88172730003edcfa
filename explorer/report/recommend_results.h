#ifndef EXPLORER_REPORT_RECOMMEND_RESULTS_H_
#define EXPLORER_REPORT_RECOMMEND_RESULTS_H_

#include <string>

#include "explorer/recommend/recommendation.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// "recommended", "not confirmed", "not met", "unfinished".
std::string RecommendVerdictName(RecommendVerdict verdict);

// "context", "strategies": a row for each of each axis, "plans": one for each
// finalist, "changes": what the chosen plan's entries do, "layers": its errors
// and f32's layer by layer, "evaluations": the same behind all layers, and
// "timings": every run of a finalist.
Results RecommendResults(const RunInfo& info, const RecommendOptions& options,
                         const Recommendation& result);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_RECOMMEND_RESULTS_H_
