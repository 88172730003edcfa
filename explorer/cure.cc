#include "explorer/cure.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "explorer/budget.h"
#include "explorer/upgrade.h"
#include "explorer/verdict.h"
#include "kernels/parallel.h"
#include "kernels/strategy.h"
#include "model/lockstep.h"
#include "model/op.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {

absl::Status TryCures(const Weights& weights, const Plan& plan,
                      const CureOptions& options, Parallel& parallel,
                      Verdict& verdict) {
  if (!verdict.source.has_value()) return absl::OkStatus();
  ErrorSource& source = *verdict.source;
  const auto is_in = [](const std::vector<Op>& ops, Op op) {
    return std::find(ops.begin(), ops.end(), op) != ops.end();
  };
  std::vector<std::vector<Upgrade>> candidates;
  std::vector<Plan> plans;
  for (const Strategy& strategy : options.strategies) {
    for (const bool in_all_layers : {false, true}) {
      std::vector<Upgrade> upgrades;
      for (const OpUpgrades& of_op :
           UpgradesOf(weights.config, plan, {strategy})) {
        Upgrade upgrade = of_op[0];
        if (!is_in(source.ops, upgrade.op)) continue;
        const bool to_removal =
            source.channel.has_value() && is_in(source.removal_ops, upgrade.op);
        const size_t last =
            to_removal ? source.channel->removed : source.last_layer;
        upgrade.layers.erase(
            std::remove_if(upgrade.layers.begin(), upgrade.layers.end(),
                           [&](size_t layer) {
                             return !in_all_layers &&
                                    (layer < source.first_layer ||
                                     layer > last);
                           }),
            upgrade.layers.end());
        if (!upgrade.layers.empty()) upgrades.push_back(std::move(upgrade));
      }
      Plan upgraded = WithUpgrades(plan, upgrades);
      if (upgraded == plan ||
          std::find(plans.begin(), plans.end(), upgraded) != plans.end()) {
        continue;
      }
      candidates.push_back(std::move(upgrades));
      plans.push_back(std::move(upgraded));
    }
  }
  if (plans.empty()) return absl::OkStatus();
  LockstepOptions lockstep;
  lockstep.memory = options.memory;
  lockstep.stop = options.stop;
  BudgetMeter meter(weights, BudgetMetric::kRelL2, options.tokens, lockstep,
                    parallel);
  const absl::Status status = meter.RunOracle();
  const auto errors = status.ok() ? meter.Measure(plans) : status;
  if (absl::IsCancelled(errors.status())) return absl::OkStatus();
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < plans.size(); ++i) {
    source.cures.push_back(
        {UpgradeEntries(weights.config, candidates[i]), (*errors)[i]});
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
