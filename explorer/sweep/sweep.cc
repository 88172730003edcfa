#include "explorer/sweep/sweep.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/ranking.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

struct Candidate {
  Plan plan;
  std::vector<size_t> levels;
};

absl::StatusOr<std::vector<Candidate>> Candidates(const SweepOptions& options,
                                                  size_t num_layers) {
  std::vector<Candidate> candidates;
  for (const std::string& text : options.plans) {
    auto plan = Plan::Parse(text, num_layers);
    if (!plan.ok()) return plan.status();
    candidates.push_back({*std::move(plan), {}});
  }
  if (!options.plans.empty()) return candidates;
  for (std::vector<size_t>& levels : Factorial(options.axes)) {
    auto plan = PlanAt(options.axes, levels, num_layers);
    if (!plan.ok()) return plan.status();
    candidates.push_back({*std::move(plan), std::move(levels)});
  }
  return candidates;
}

// Where errors were not all measured: "after layer 7 of 24".
std::string StoppedInErrors(const std::vector<PlanResult>& plans,
                            size_t num_layers) {
  size_t done = num_layers, measured = 0;
  for (const PlanResult& plan : plans) {
    done =
        std::min({done, plan.token.layers.size(), plan.prompt.layers.size()});
    if (plan.measured()) ++measured;
  }
  std::string text = "while measuring errors, ";
  if (measured > 0) {
    return absl::StrCat(text, "with ", measured, " of ", plans.size(),
                        " plans done");
  }
  return done == 0
             ? absl::StrCat(text, "before the first layer was done")
             : absl::StrCat(text, "after layer ", done, " of ", num_layers);
}

// Fills in the errors of all plans. True if not stopped on the way.
absl::StatusOr<bool> MeasurePlans(const Run& run, const SweepOptions& options,
                                  const std::vector<Plan>& plans,
                                  std::vector<PlanResult>& results) {
  auto errors = MeasureErrors(run, plans, {{options.token}, options.prompt});
  if (!errors.ok()) return errors.status();
  bool all = true;
  for (size_t i = 0; i < plans.size(); ++i) {
    PlanResult& result = results[i];
    result.token = std::move((*errors)[i][0]);
    result.prompt = std::move((*errors)[i][1]);
    all = all && result.measured();
    if (result.measured()) {
      result.score = options.metric->of(result.token, result.prompt);
    }
  }
  return all;
}

// Times the plans in rounds over all of them, so that a slow spell of the
// machine hits all alike. Returns the round in which it was stopped, from 1; 0
// for none.
absl::StatusOr<size_t> TimePlans(const Run& run, const SweepOptions& options,
                                 const std::vector<Plan>& plans,
                                 std::vector<PlanResult>& results) {
  constexpr absl::string_view kTask = "timing";
  constexpr size_t kLeastRounds = 2;
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const size_t total = options.max_rounds * plans.size();
  for (size_t round = 0; round < options.max_rounds; ++round) {
    const double spent =
        std::chrono::duration<double>(Clock::now() - start).count();
    if (round >= kLeastRounds && spent > options.timing_seconds) break;
    for (size_t i = 0; i < plans.size(); ++i) {
      run.monitor.OnProgress(kTask, round * plans.size() + i, total,
                             results[i].plan);
      const absl::Status status =
          TimePlan(run, plans[i], options.prompt, options.decode_steps,
                   results[i].timing);
      if (absl::IsCancelled(status)) return round + 1;
      if (!status.ok()) return status;
    }
  }
  run.monitor.OnProgress(kTask, total, total, "");
  return 0;
}

}  // namespace

absl::StatusOr<std::vector<Plan>> PlansOf(const SweepOptions& options,
                                          size_t num_layers) {
  auto candidates = Candidates(options, num_layers);
  if (!candidates.ok()) return candidates.status();
  std::vector<Plan> plans;
  for (Candidate& candidate : *candidates) {
    plans.push_back(std::move(candidate.plan));
  }
  return plans;
}

absl::StatusOr<SweepResult> RunSweep(
    const Run& run, const SweepOptions& options,
    absl::FunctionRef<void(const SweepResult&)> on_measured) {
  const size_t num_layers = run.weights.layers.size();
  auto candidates = Candidates(options, num_layers);
  if (!candidates.ok()) return candidates.status();
  SweepResult result;
  std::vector<Plan> plans;
  for (Candidate& candidate : *candidates) {
    PlanResult plan;
    plan.plan = candidate.plan.Text();
    plan.levels = std::move(candidate.levels);
    result.plans.push_back(std::move(plan));
    plans.push_back(std::move(candidate.plan));
  }

  const auto all = MeasurePlans(run, options, plans, result.plans);
  if (!all.ok()) return all.status();
  // Sorts the plans of a copy: those that are timed keep their places.
  const auto ranked = [&](SweepResult of) {
    for (PlanResult& plan : of.plans) {
      plan.decode_rate = RateOf(plan.timing.decode, 1);
      plan.prefill_rate = RateOf(plan.timing.prefill,
                                 static_cast<double>(options.prompt.size()));
    }
    if (*all) of.effects = MainEffects(options.axes, of.plans);
    RankPlans(of.plans);
    return of;
  };
  if (*all) {
    result.stopped_in = "before plans were timed";
    on_measured(ranked(result));
    result.stopped_in.clear();
    const auto round = TimePlans(run, options, plans, result.plans);
    result.failed = round.status();
    if (round.ok() && *round > 0) {
      result.stopped_in = absl::StrCat("in round ", *round, " of timing");
    }
  } else {
    result.stopped_in = StoppedInErrors(result.plans, num_layers);
  }
  return ranked(std::move(result));
}

absl::StatusOr<Plan> WorstPlan(const Run& run, const SweepOptions& options) {
  const size_t num_layers = run.weights.layers.size();
  const auto plans = PlansOf(options, num_layers);
  if (!plans.ok()) return plans.status();
  std::vector<PlanResult> results(plans->size());
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].plan = (*plans)[i].Text();
  }
  const auto all = MeasurePlans(run, options, *plans, results);
  if (!all.ok()) return all.status();
  if (!*all) return absl::CancelledError("while looking for the worst plan");
  RankPlans(results);
  size_t worst = results.size() - 1;
  while (worst > 0 && !results[worst].score.has_value()) --worst;
  return Plan::Parse(results[worst].plan, num_layers);
}

}  // namespace ulpscope
