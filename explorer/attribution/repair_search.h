#ifndef EXPLORER_ATTRIBUTION_REPAIR_SEARCH_H_
#define EXPLORER_ATTRIBUTION_REPAIR_SEARCH_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/repair_result.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/baseline.h"
#include "explorer/error/budget.h"
#include "explorer/error/run.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// What the steps of one FindRepair share: what can be upgraded, the errors of
// upgraded plans, and the smallest set that kept the budget so far. All
// arguments must outlive it. Where the baseline's reference is not the oracle,
// upgrades are ReplacementsOf.
class RepairSearch {
 public:
  static constexpr absl::string_view kTask = "smallest repair";  // Monitor's

  RepairSearch(const Run& run, const Baseline& baseline,
               const RepairOptions& options, RepairResult& result);
  RepairSearch(const RepairSearch&) = delete;
  RepairSearch& operator=(const RepairSearch&) = delete;

  const Plan& plan() const { return plan_; }
  const RepairOptions& options() const { return options_; }
  // That upgrades choose from: the options', or none where they take the
  // reference's.
  const std::vector<Strategy>& strategies() const { return result_.strategies; }
  RepairResult& result() { return result_; }
  // [ops that can be upgraded][strategies].
  const std::vector<OpUpgrades>& choices() const { return choices_; }

  // What is searched from here on, for the monitor and `stopped_in`. A literal.
  void Begin(absl::string_view step) { step_ = step; }
  absl::string_view step() const { return step_; }

  // Each plan's error with these upgrades.
  absl::StatusOr<std::vector<double>> Measure(
      const std::vector<std::vector<Upgrade>>& candidates);
  // The same of one, by itself.
  absl::StatusOr<std::vector<double>> MeasureAlone(
      const std::vector<Upgrade>& upgrades) {
    return meter_.MeasureAlone(WithUpgrades(plan_, upgrades));
  }
  bool Keeps(double error) const { return error <= options_.budget.limit; }
  UpgradeSet SetOf(const std::vector<Upgrade>& upgrades, double error) const;
  // Of a set that keeps the budget: the smallest so far is what a search that
  // is stopped has found.
  void Accept(const UpgradeSet& set);

  // Sets the result's streams and passes.
  void Count();

 private:
  const RepairOptions& options_;
  const Plan& plan_;
  RepairResult& result_;
  absl::string_view step_ = "the plan itself";
  BudgetMeter meter_;
  std::vector<OpUpgrades> choices_;
};

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_REPAIR_SEARCH_H_
