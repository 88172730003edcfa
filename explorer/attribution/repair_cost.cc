#include "explorer/attribution/repair_cost.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
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
  std::vector<const Plan*> plans = {&plan, &result.repair.plan};
  for (const UpgradeSet& set : result.alternatives) plans.push_back(&set.plan);
  std::vector<PlanTiming> timings(plans.size());
  for (size_t round = 0; round < timing.max_rounds; ++round) {
    const double spent = SteadySeconds() - start;
    if (round >= kLeastRounds && spent > timing.seconds) break;
    // A round counts when it is whole.
    std::vector<PlanTiming> times(plans.size());
    absl::Status status;
    for (size_t i = 0; i < plans.size() && status.ok(); ++i) {
      status = TimePlan(run, *plans[i], timing.prompt, timing.decode_steps,
                        times[i]);
    }
    if (absl::IsCancelled(status)) break;
    if (!status.ok()) return status;
    for (size_t i = 0; i < plans.size(); ++i) {
      const auto append = [](const std::vector<double>& from,
                             std::vector<double>& to) {
        to.insert(to.end(), from.begin(), from.end());
      };
      append(times[i].prefill, timings[i].prefill);
      append(times[i].decode, timings[i].decode);
    }
  }
  const PlanTiming& of_plan = timings[0];
  if (of_plan.prefill.empty()) return absl::OkStatus();

  size_t best = 1;
  for (size_t i = 2; i < plans.size(); ++i) {
    if (RateOf(timings[i].decode, 1)->median >
        RateOf(timings[best].decode, 1)->median) {
      best = i;
    }
  }
  const PlanTiming& repaired = timings[best];
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
  if (best > 1) {
    std::swap(result.repair, result.alternatives[best - 2]);
    result.entries = UpgradeEntries(run.weights.config, result.repair.upgrades);
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
