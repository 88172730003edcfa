#include "explorer/attribution/cure.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/baseline.h"
#include "explorer/error/budget.h"
#include "explorer/error/run.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"

namespace ulpscope {

absl::Status TryCures(const Run& run, const Baseline& baseline,
                      const std::vector<Strategy>& strategies,
                      Verdict& verdict) {
  const ModelConfig& config = run.weights.config;
  const Plan& plan = baseline.plan;
  if (!verdict.source.has_value()) return absl::OkStatus();
  ErrorSource& source = *verdict.source;
  // Which cells are upgraded.
  const auto in_source = [&](const Cell& cell) {
    return (absl::c_linear_search(source.ops, cell.op) &&
            source.first_layer <= cell.layer &&
            cell.layer <= source.last_layer) ||
           (source.until_removal.has_value() &&
            cell.layer == source.until_removal->layer &&
            absl::c_linear_search(source.until_removal->ops, cell.op));
  };
  const auto of_ops = [&](const Cell& cell) {
    return absl::c_linear_search(source.ops, cell.op);
  };
  const auto of_channel = [&](const Cell& cell) {
    const auto in = [&](const std::optional<SourcePart>& part) {
      return part.has_value() && cell.layer == part->layer &&
             absl::c_linear_search(part->ops, cell.op);
    };
    return of_ops(cell) || in(source.makes) || in(source.removes);
  };
  const std::pair<CureScope, std::function<bool(const Cell&)>> scopes[] = {
      {CureScope::kSource, in_source},
      {CureScope::kOps, of_ops},
      {CureScope::kChannel, of_channel}};
  std::vector<Cure> cures;
  std::vector<Plan> plans;
  const Plan& reference = baseline.reference_plan;
  const bool to_reference = !baseline.is_against_oracle();
  const std::vector<OpUpgrades> choices =
      to_reference ? ReplacementsOf(config, plan, reference)
                   : UpgradesOf(config, plan, strategies);
  std::vector<Strategy> tried = strategies;
  // It names the cures; of each op there is one choice.
  if (to_reference) {
    tried = {reference.Get(source.first_layer, source.ops[0])};
  }
  for (const Strategy& strategy : tried) {
    for (const auto& [scope, filter] : scopes) {
      std::vector<Upgrade> upgrades;
      for (const OpUpgrades& of_op : choices) {
        Upgrade upgrade = Choose(of_op, &strategy);
        upgrade.layers.erase(
            std::remove_if(upgrade.layers.begin(), upgrade.layers.end(),
                           [&, &keeps = filter](size_t layer) {
                             return !keeps({layer, upgrade.op});
                           }),
            upgrade.layers.end());
        if (!upgrade.layers.empty()) upgrades.push_back(std::move(upgrade));
      }
      Plan upgraded = WithUpgrades(plan, upgrades);
      if (upgraded == plan || absl::c_linear_search(plans, upgraded)) {
        continue;
      }
      cures.push_back({scope, strategy, UpgradeEntries(config, upgrades), 0});
      plans.push_back(std::move(upgraded));
    }
  }
  const size_t num_cures = plans.size();
  // The source's ops as a plan has them, the reference elsewhere.
  const auto isolated = [&](const Plan& of) {
    Plan alone = reference;
    for (const Cell& cell : CellsOf(config)) {
      if (of_ops(cell)) {
        alone.TakeCell(of, cell.layer, cell.op);
      }
    }
    return alone;
  };
  Isolated of_source;
  plans.push_back(isolated(plan));
  for (size_t i = 0; i < num_cures; ++i) {
    if (cures[i].scope != CureScope::kOps) continue;
    of_source.upgraded.push_back({cures[i].strategy, 0});
    plans.push_back(isolated(plans[i]));
  }
  constexpr absl::string_view kTask = "attribution: upgrades of the source";
  BudgetMeter meter(run.Without(baseline.bytes), baseline, BudgetMetric::kRelL2,
                    kTask, [] { return ""; });
  const auto errors = meter.Measure(plans);
  if (absl::IsCancelled(errors.status())) return absl::OkStatus();
  if (!errors.ok()) return errors.status();
  run.monitor.OnProgress(kTask, 1, 1, "");
  for (size_t i = 0; i < num_cures; ++i) {
    cures[i].rel_l2 = (*errors)[i];
    source.cures.push_back(std::move(cures[i]));
  }
  of_source.rel_l2 = (*errors)[num_cures];
  for (size_t i = 0; i < of_source.upgraded.size(); ++i) {
    of_source.upgraded[i].rel_l2 = (*errors)[num_cures + 1 + i];
  }
  source.isolated = std::move(of_source);
  return absl::OkStatus();
}

}  // namespace ulpscope
