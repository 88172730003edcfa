#ifndef EXPLORER_RECOMMEND_LEVELS_H_
#define EXPLORER_RECOMMEND_LEVELS_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "explorer/error/budget.h"
#include "explorer/error/run.h"
#include "explorer/recommend/clock.h"
#include "explorer/recommend/recommendation.h"
#include "explorer/recommend/space.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// What is left of an axis to search: strategies of which each is faster or more
// accurate than each other, the most accurate first.
struct AxisCosts {
  std::vector<double> seconds;  // [levels], of all cells, beyond f32's
  std::vector<double> harm;     // [levels], in SizeOf, beyond the first's
};

// Errors add up in this: rounding errors are independent, so that their squares
// do, and the KL divergence is a square already.
double SizeOf(BudgetMetric metric, double error);

// What is chosen from, and what it is expected to cost.
struct CostModel {
  std::vector<SearchAxis> axes;  // with the strategies that are searched
  std::vector<AxisCosts> costs;  // [axes]
  double f32_seconds = 0;        // of the f32 plan

  // An axis' time is shared out to its cells by their work.
  double SecondsOf(const ModelConfig& config, const Plan& plan) const;
};

// Measures the error of every strategy of every axis, in all of its cells, then
// their times. Leaves in the model's axes the strategies that are worth
// searching, all if there are few plans of them, and fills the rest of it.
// `noise` is the share of f32's time below which times count as equal. `levels`
// has what was found, whatever ends it.
absl::Status FindLevels(const RecommendOptions& options, Monitor& monitor,
                        BudgetMeter& meter, PlanClock& clock, size_t num_layers,
                        CostModel& model, std::optional<double>& noise,
                        std::vector<LevelCost>& levels);

// So many plans can all be run.
inline constexpr size_t kMostRunPlans = 1024;

// A strategy as it is weighed against others of its axis.
struct WeighedLevel {
  double seconds = 0, noise = 0;  // beyond f32's, and what of it is noise
  double error = 0;
};

// Those of them that no other one makes needless, the most accurate first: one
// that is as fast and more accurate, as accurate and faster, or, if neither
// tells them apart, before it.
std::vector<size_t> WorthSearching(absl::Span<const WeighedLevel> levels,
                                   double like_error);

}  // namespace ulpscope

#endif  // EXPLORER_RECOMMEND_LEVELS_H_
