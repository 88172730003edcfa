#include "explorer/attribution/repair_cost.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "explorer/attribution/archived_attribution.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/kept.h"
#include "explorer/error/run.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

Subject SubjectOfRound(const Run& run, const std::vector<const Plan*>& plans,
                       const RepairTiming& timing, size_t round) {
  Subject subject =
      SubjectOf("repair_time", run, timing.prompt, {{"plan", plans[0]}});
  subject.version = kRepairRoundVersion;
  subject.is_time = true;
  subject.facts.emplace_back(
      "plans", absl::StrJoin(plans, "; ", [](auto* text, const Plan* plan) {
        text->append(plan->Text());
      }));
  subject.facts.emplace_back("decode_steps", absl::StrCat(timing.decode_steps));
  subject.facts.emplace_back("round", absl::StrCat(round));
  return subject;
}

}  // namespace

absl::Status TimeRepair(const Run& run, const Plan& plan,
                        const RepairTiming& timing, RepairResult& result) {
  if (result.repair.upgrades.empty()) return absl::OkStatus();
  std::vector<const Plan*> plans = {&plan, &result.repair.plan};
  for (const UpgradeSet& set : result.alternatives) plans.push_back(&set.plan);
  result.emulated = absl::c_any_of(
      plans, [](const Plan* timed) { return timed->emulated(); });
  if (result.emulated || timing.seconds == 0) return absl::OkStatus();
  constexpr size_t kLeastRounds = 2;
  double spent = 0;  // of all rounds until now, those that are kept included
  std::vector<PlanTiming> timings(plans.size());
  for (size_t round = 0; round < timing.max_rounds; ++round) {
    if (round >= kLeastRounds && spent > timing.seconds) break;
    // A round counts, and is kept, when it is whole: its runs are neighbours.
    const Subject subject = SubjectOfRound(run, plans, timing, round);
    const auto is_whole = [&](const RepairRound& kept) {
      return kept.runs.size() == plans.size() &&
             absl::c_all_of(kept.runs, [&](const TimedRun& timed) {
               return IsWhole(timed, timing.decode_steps);
             });
    };
    RepairRound of_round;
    if (!Recall(run.kept, subject, of_round, is_whole)) {
      of_round.runs.resize(plans.size());
      absl::Status status;
      for (size_t i = 0; i < plans.size() && status.ok(); ++i) {
        status = TimePlan(run, *plans[i], timing.prompt, timing.decode_steps,
                          of_round.runs[i]);
      }
      if (absl::IsCancelled(status)) break;
      if (!status.ok()) return status;
      Retain(run.kept, subject, of_round);
    }
    for (size_t i = 0; i < plans.size(); ++i) {
      timings[i].Append(of_round.runs[i].timing);
      spent += of_round.runs[i].seconds;
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
