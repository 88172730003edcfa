#include "explorer/attribution/repair_search.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/budget.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

LockstepOptions LockstepOptionsOf(const RepairOptions& options,
                                  const absl::string_view& step) {
  LockstepOptions lockstep;
  lockstep.memory = options.memory;
  lockstep.stop = options.stop;
  if (options.progress) {
    lockstep.progress = [&options, &step](size_t done, size_t total) {
      options.progress(step, done, total);
    };
  }
  return lockstep;
}

}  // namespace

RepairSearch::RepairSearch(const Weights& weights, const Plan& plan,
                           const RepairOptions& options, Parallel& parallel,
                           RepairResult& result)
    : options_(options),
      plan_(plan),
      result_(result),
      meter_(weights, options.budget.metric, options.tokens,
             LockstepOptionsOf(options, step_), parallel),
      choices_(UpgradesOf(weights.config, plan, options.strategies)) {
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
