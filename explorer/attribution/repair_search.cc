#include "explorer/attribution/repair_search.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/attribution/repair_result.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/budget.h"
#include "explorer/error/run.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
RepairSearch::RepairSearch(const Run& run, const Baseline& baseline,
                           const RepairOptions& options, RepairResult& result)
    : options_(options),
      plan_(baseline.plan),
      result_(result),
      meter_(run, baseline, options.budget.metric, kTask,
             [this] { return std::string(step_); }),
      choices_(baseline.is_against_oracle()
                   ? UpgradesOf(run.weights.config, plan_, options.strategies)
                   : ReplacementsOf(run.weights.config, plan_,
                                    baseline.reference_plan)) {
  if (baseline.is_against_oracle()) result_.strategies = options.strategies;
  if (options.budget.metric != BudgetMetric::kRelL2) return;
  // They come after what the metric compares.
  choices_.erase(std::remove_if(choices_.begin(), choices_.end(),
                                [](const OpUpgrades& of_op) {
                                  return of_op[0].op == Op::kFinalNorm ||
                                         of_op[0].op == Op::kLmHead;
                                }),
                 choices_.end());
}

absl::StatusOr<std::vector<double>> RepairSearch::Measure(
    const std::vector<std::vector<Upgrade>>& candidates) {
  std::vector<Plan> plans;
  plans.reserve(candidates.size());
  for (const std::vector<Upgrade>& upgrades : candidates) {
    plans.push_back(WithUpgrades(plan_, upgrades));
  }
  return meter_.Measure(plans);
}

UpgradeSet RepairSearch::SetOf(const std::vector<Upgrade>& upgrades,
                               double error) const {
  return {upgrades, WithUpgrades(plan_, upgrades), error};
}

void RepairSearch::Accept(const UpgradeSet& set) {
  if (!result_.reached || IsSmaller(set, result_.repair)) result_.repair = set;
  result_.reached = true;
}

void RepairSearch::Count() {
  result_.streams = meter_.num_streams();
  result_.passes = meter_.num_passes();
}

}  // namespace ulpscope
