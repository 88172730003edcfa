#ifndef EXPLORER_RECOMMEND_RECOMMEND_H_
#define EXPLORER_RECOMMEND_RECOMMEND_H_

#include <functional>

#include "absl/status/statusor.h"
#include "explorer/error/run.h"
#include "explorer/recommend/clock.h"
#include "explorer/recommend/recommendation.h"

namespace ulpscope {

// The fastest plan that keeps a budget of error, on this machine and this text:
// searched with errors that are measured and times that are guessed from those
// of whole strategies, confirmed on another text, and chosen among finalists
// that were timed as a whole. docs/recommend.md has it rule by rule.
//
// `on_stage` is given what there is after each part. Being stopped is no error:
// the result has what was measured, `stopped_in` says what is missing, and what
// it would choose by then. InvalidArgument for tokens that the model does not
// take, or if no axis has a cell that the budget's metric sees.
absl::StatusOr<Recommendation> Recommend(
    const Run& run, const RecommendOptions& options, PlanClock& clock,
    const std::function<void(const Recommendation&)>& on_stage = nullptr);

}  // namespace ulpscope

#endif  // EXPLORER_RECOMMEND_RECOMMEND_H_
