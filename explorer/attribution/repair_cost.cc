#include "explorer/attribution/repair_cost.h"

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "kernels/base/steady_clock.h"
#include "model/architecture/plan.h"

namespace ulpscope {

absl::Status TimeRepair(const Run& run, const Plan& plan,
                        const RepairTiming& timing, RepairResult& result) {
  if (result.repair.upgrades.empty() || timing.seconds == 0) {
    return absl::OkStatus();
  }
  constexpr size_t kLeastRounds = 2;
  const double start = SteadySeconds();
  std::vector<UpgradeSet> sets = {result.repair};
  sets.insert(sets.end(), result.alternatives.begin(),
              result.alternatives.end());
  PlanTiming of_plan;
  std::vector<PlanTiming> of_sets(sets.size());
  for (size_t round = 0; round < timing.max_rounds; ++round) {
    const double spent = SteadySeconds() - start;
    if (round >= kLeastRounds && spent > timing.seconds) break;
    // A round counts when it is whole.
    PlanTiming plan_times;
    std::vector<PlanTiming> times(sets.size());
    bool stopped = false;
    for (size_t i = 0; i <= sets.size() && !stopped; ++i) {
      const absl::Status status =
          TimePlan(run, i == 0 ? plan : sets[i - 1].plan, timing.prompt,
                   timing.decode_steps, i == 0 ? plan_times : times[i - 1]);
      stopped = absl::IsCancelled(status);
      if (!status.ok() && !stopped) return status;
    }
    if (stopped) break;
    const auto append = [](const PlanTiming& from, PlanTiming& to) {
      to.prefill.insert(to.prefill.end(), from.prefill.begin(),
                        from.prefill.end());
      to.decode.insert(to.decode.end(), from.decode.begin(), from.decode.end());
    };
    append(plan_times, of_plan);
    for (size_t i = 0; i < sets.size(); ++i) append(times[i], of_sets[i]);
  }
  if (of_plan.prefill.empty()) return absl::OkStatus();

  size_t best = 0;
  for (size_t i = 1; i < sets.size(); ++i) {
    if (RateOf(of_sets[i].decode, 1)->median >
        RateOf(of_sets[best].decode, 1)->median) {
      best = i;
    }
  }
  const PlanTiming& repaired = of_sets[best];
  const double positions = static_cast<double>(timing.prompt.size());
  RepairCost cost;
  cost.plan_decode = *RateOf(of_plan.decode, 1);
  cost.repaired_decode = *RateOf(repaired.decode, 1);
  cost.plan_prefill = *RateOf(of_plan.prefill, positions);
  cost.repaired_prefill = *RateOf(repaired.prefill, positions);
  const auto ratio = [](const std::vector<double>& repaired_seconds,
                        const std::vector<double>& plan_seconds) {
    std::vector<double> slowdowns;
    for (size_t i = 0; i < repaired_seconds.size(); ++i) {
      slowdowns.push_back(repaired_seconds[i] / plan_seconds[i]);
    }
    return *RateOf(slowdowns, 1);
  };
  cost.decode_ratio = ratio(repaired.decode, of_plan.decode);
  cost.prefill_ratio = ratio(repaired.prefill, of_plan.prefill);
  result.cost = cost;
  if (best != 0) {
    result.alternatives[best - 1] = result.repair;
    result.repair = sets[best];
    result.entries = UpgradeEntries(run.weights.config, result.repair.upgrades);
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
