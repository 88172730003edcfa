#ifndef EXPLORER_REPORT_RECOMMEND_REPORT_H_
#define EXPLORER_REPORT_RECOMMEND_REPORT_H_

#include <string>

#include "explorer/recommend/recommendation.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// The verdict with the plan on a line of its own, as --plan takes it, then the
// front, what is given up, layer by layer, and what strategies cost; of
// RecommendResults, as Markdown.
std::string RecommendReport(const RunInfo& info,
                            const RecommendOptions& options,
                            const Recommendation& result,
                            const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_RECOMMEND_REPORT_H_
