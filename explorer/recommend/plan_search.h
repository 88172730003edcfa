#ifndef EXPLORER_RECOMMEND_PLAN_SEARCH_H_
#define EXPLORER_RECOMMEND_PLAN_SEARCH_H_

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "explorer/error/budget.h"
#include "explorer/recommend/levels.h"
#include "explorer/recommend/recommendation.h"
#include "explorer/recommend/space.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// A plan whose error was measured, and what it is expected to take.
struct SearchedPlan {
  Plan plan{0};
  double seconds = 0;
  double error = 0;
};

// What a search knows, and how far it goes.
struct SearchInput {
  const ModelConfig& config;
  Budget budget;
  const CostModel& model;
  double least_gain = 0;  // RecommendOptions
  double seconds = 120;   // no further errors are measured after that
  size_t most_plans = kMostRunPlans;
  // Units are measured one by one before anything else: so many plans at most.
  size_t most_units = 96;
};

// Looks for the fastest plan that keeps a budget, over strategies of ops in
// ranges of layers. Times are those of the axes, shared out to units by their
// work: a guess, good enough to say which plans are worth being run, and in the
// end timed. Errors are measured, of every plan that is looked at.
//
// First each unit alone shows what each of its strategies does. If errors and
// times were sums of the units' the best plans would be those of a chain, from
// the most accurate to the fastest, that gives up the accuracy that buys most
// time first (the convex hull of the knapsack problem with a choice per unit).
// The chain is run; from the fastest of it that keeps the budget on, one or two
// units at a time are changed while that makes a faster plan that keeps it.
// Then ranges are halved, and the same is tried again, down to single layers.
class PlanSearch {
 public:
  // What the input refers to and the meter must outlive it.
  PlanSearch(const SearchInput& input, BudgetMeter& meter);

  // Cancelled if stopped; what was measured is there.
  absl::Status Run();

  // In the order in which they were measured; of each plan once.
  const std::vector<SearchedPlan>& plans() const { return plans_; }
  // Of plans(): the fastest that keeps the budget, of equal ones that of less
  // error; none if none keeps it.
  std::optional<size_t> best() const { return best_; }
  std::optional<size_t> least_error() const { return least_; }
  bool out_of_time() const { return out_of_time_; }
  // Whether no plan of the space is expected to be faster and keep the budget.
  bool complete() const { return complete_; }

 private:
  using Choice = std::vector<size_t>;  // [units]: the level

  Plan PlanOf(const Choice& choice) const;
  double SecondsOf(const Choice& choice) const;
  // Those of `choices` that are new and may still be measured.
  absl::Status Measure(const std::vector<Choice>& choices);
  bool Keeps(const SearchedPlan& plan) const {
    return plan.error <= input_.budget.limit;
  }

  absl::Status MeasureUnits();
  std::vector<Choice> Chain() const;
  absl::Status RunChain();
  // From `best` on; or from the plan of the least error while nothing keeps the
  // budget, towards less.
  absl::Status Improve();
  bool Halve();
  absl::Status RunAllFaster();

  const SearchInput input_;
  const std::vector<SearchAxis>& axes_;
  const std::vector<AxisCosts>& costs_;
  BudgetMeter& meter_;
  const double start_;
  Plan base_{0};  // the most accurate level everywhere
  double base_seconds_ = 0;
  std::vector<SearchUnit> units_;
  std::vector<std::vector<double>> harm_;  // [units][levels]
  std::vector<SearchedPlan> plans_;
  std::vector<Choice> choices_;  // [plans], of the units as they are now
  std::unordered_set<std::string> seen_;
  std::optional<size_t> best_, least_;
  bool out_of_time_ = false, complete_ = false;
};

}  // namespace ulpscope

#endif  // EXPLORER_RECOMMEND_PLAN_SEARCH_H_
