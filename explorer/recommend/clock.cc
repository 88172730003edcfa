#include "explorer/recommend/clock.h"

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/kept.h"
#include "explorer/error/replicates.h"
#include "explorer/error/run.h"
#include "kernels/measure/quantile.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// Of the median: one step that something interrupted is no time of the plan.
double LogOfRound(const TimedRun& run, TimedPhase phase) {
  return std::log(Quantile(
      phase == TimedPhase::kDecode ? run.timing.decode : run.timing.prefill,
      0.5));
}

}  // namespace

absl::string_view PhaseName(TimedPhase phase) {
  return phase == TimedPhase::kDecode ? "decode" : "prefill";
}

absl::StatusOr<TimedRun> MachineClock::Time(absl::Span<const Plan> plans,
                                            size_t i, size_t round) {
  Subject subject =
      SubjectOf("recommend_time", run_, prompt_, {{"plan", &plans[i]}});
  subject.version = kTimedRunVersion;
  subject.is_time = true;
  subject.facts.emplace_back(
      "plans", absl::StrJoin(plans, "; ", [](auto* text, const Plan& plan) {
        text->append(plan.Text());
      }));
  subject.facts.emplace_back("place", absl::StrCat(i));
  subject.facts.emplace_back("decode_steps", absl::StrCat(decode_steps_));
  subject.facts.emplace_back("round", absl::StrCat(round));
  const auto is_whole = [&](const TimedRun& kept) {
    return IsWhole(kept, decode_steps_);
  };
  TimedRun timed;
  if (Recall(run_.kept, subject, timed, is_whole)) return timed;
  if (!is_warm_) {
    TimedRun cold;
    const absl::Status status =
        TimePlan(run_, plans[i], prompt_, decode_steps_, cold);
    if (!status.ok()) return status;
    is_warm_ = true;
  }
  const absl::Status status =
      TimePlan(run_, plans[i], prompt_, decode_steps_, timed);
  if (!status.ok()) return status;
  Retain(run_.kept, subject, timed);
  return timed;
}

double TimedPlans::Seconds(size_t plan) const {
  return std::exp(MeanOf(logs[plan]).mean);
}

absl::StatusOr<TimedPlans> TimeInRounds(PlanClock& clock, Monitor& monitor,
                                        absl::string_view task,
                                        absl::Span<const Plan> plans,
                                        TimedPhase phase,
                                        const RoundLimits& limits) {
  TimedPlans timed;
  timed.timings.resize(plans.size());
  timed.logs.resize(plans.size());
  double spent = 0;  // of all rounds until now, those that are kept included
  const size_t total = limits.most * plans.size();
  for (size_t round = 0; round < limits.most; ++round) {
    if (round >= limits.least && spent > limits.seconds) break;
    std::vector<TimedRun> runs;
    for (size_t i = 0; i < plans.size(); ++i) {
      monitor.OnProgress(task, round * plans.size() + i, total,
                         plans[i].Text());
      auto run = clock.Time(plans, i, round);
      if (absl::IsCancelled(run.status()) && round >= limits.least) {
        return timed;
      }
      if (!run.ok()) return run.status();
      spent += run->seconds;
      runs.push_back(*std::move(run));
    }
    for (size_t i = 0; i < plans.size(); ++i) {
      timed.timings[i].Append(runs[i].timing);
      timed.logs[i].push_back(LogOfRound(runs[i], phase));
    }
  }
  monitor.OnProgress(task, total, total, "");
  return timed;
}

TimeRatio RatioOf(absl::Span<const double> logs,
                  absl::Span<const double> base) {
  std::vector<double> differences;
  for (size_t i = 0; i < logs.size(); ++i) {
    differences.push_back(logs[i] - base[i]);
  }
  const Mean mean = MeanOf(differences);
  TimeRatio ratio = {std::exp(mean.mean), {}, {}};
  if (!mean.standard_error.has_value()) return ratio;
  const double reach =
      *mean.standard_error * StudentReach(static_cast<int>(logs.size()) - 1);
  ratio.low = std::exp(mean.mean - reach);
  ratio.high = std::exp(mean.mean + reach);
  return ratio;
}

}  // namespace ulpscope
