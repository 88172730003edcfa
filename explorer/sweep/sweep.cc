#include "explorer/sweep/sweep.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/kept.h"
#include "explorer/error/metrics.h"
#include "explorer/error/nearer.h"
#include "explorer/error/pooled.h"
#include "explorer/error/run.h"
#include "explorer/error/token_summary.h"
#include "explorer/error/windows.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/greedy.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep_errors.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

struct SweptPlan {
  Plan plan;
  std::vector<size_t> levels;
};

absl::StatusOr<std::vector<SweptPlan>> SweptPlans(const SweepOptions& options,
                                                  size_t num_layers) {
  std::vector<SweptPlan> swept;
  for (const std::string& text : options.plans) {
    auto plan = Plan::Parse(text, num_layers);
    if (!plan.ok()) return plan.status();
    swept.push_back({*std::move(plan), {}});
  }
  if (!options.plans.empty()) return swept;
  for (std::vector<size_t>& levels : Factorial(options.axes)) {
    auto plan = PlanAt(options.axes, levels, num_layers);
    if (!plan.ok()) return plan.status();
    swept.push_back({*std::move(plan), std::move(levels)});
  }
  return swept;
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

// PlanResult::nearer, of the errors against the oracle of both.
Nearer NearerOf(const std::optional<TraceMetrics>& plan,
                const std::optional<TraceMetrics>& against) {
  if (!plan.has_value() || !against.has_value() || !plan->complete() ||
      !against->complete()) {
    return Nearer::kUnknown;
  }
  return NearerBy(
      {{plan->final_hidden().rel_l2, against->final_hidden().rel_l2},
       {ComparableKl(plan->logits->kl), ComparableKl(against->logits->kl)}});
}

SweepErrors ErrorsOf(const SweepOptions& options, std::vector<Plan> swept,
                     size_t num_layers) {
  SweepErrors errors;
  errors.num_swept = swept.size();
  errors.plans = std::move(swept);
  errors.oracle = errors.against = errors.plans.size();
  errors.plans.push_back(Plan::Oracle(num_layers));
  if (options.against.has_value() &&
      !(*options.against == errors.plans[errors.oracle])) {
    errors.against = errors.plans.size();
    errors.plans.push_back(*options.against);
  }
  errors.windows = {Window{"token", 0, {options.token}, 0, 1}};
  const std::vector<Window> windows = WindowsOf(options);
  errors.windows.insert(errors.windows.end(), windows.begin(), windows.end());
  for (size_t w = 0; w < errors.windows.size(); ++w) {
    const auto ask = [&](size_t plan, size_t reference) {
      errors.queries.push_back({plan, reference, w});
    };
    for (size_t p = 0; p < errors.num_swept; ++p) ask(p, errors.against);
    if (errors.against == errors.oracle || w == 0) continue;
    for (size_t p = 0; p < errors.num_swept; ++p) ask(p, errors.oracle);
    ask(errors.against, errors.oracle);
  }
  return errors;
}

struct MeasuredPlans {
  std::vector<Plan> plans;
  std::vector<PlanResult> results;  // [plans], with their errors
  std::optional<TraceMetrics> against_oracle;
  std::vector<int32_t> greedy;  // that were generated
  bool all = true;              // not stopped on the way
};

absl::StatusOr<MeasuredPlans> MeasurePlans(const Run& run,
                                           const SweepOptions& options) {
  const size_t num_layers = run.weights.layers.size();
  auto swept = SweptPlans(options, num_layers);
  if (!swept.ok()) return swept.status();
  MeasuredPlans measured;
  for (SweptPlan& of : *swept) {
    PlanResult& result = measured.results.emplace_back();
    result.plan = of.plan.Text();
    result.index = measured.plans.size();
    result.emulated = of.plan.emulated();
    result.levels = std::move(of.levels);
    measured.plans.push_back(std::move(of.plan));
  }
  const size_t num_plans = measured.plans.size();
  const SweepErrors asked = ErrorsOf(options, measured.plans, num_layers);
  const std::vector<Plan>& plans = asked.plans;
  const size_t oracle = asked.oracle, against = asked.against;
  const std::vector<ErrorQuery>& queries = asked.queries;
  auto errors = MeasureErrors(run, plans, asked.windows, queries);
  if (!errors.ok()) return errors.status();
  const std::vector<Window> windows = WindowsOf(options);
  // [plan]: of each window against the oracle, where that is not what errors
  // are against.
  std::vector<std::vector<TraceMetrics>> truths(plans.size());
  for (size_t q = 0; q < queries.size(); ++q) {
    const ErrorQuery& query = queries[q];
    TraceMetrics& metrics = (*errors)[q];
    if (query.reference != against) {
      truths[query.plan].push_back(std::move(metrics));
      continue;
    }
    PlanResult& result = measured.results[query.plan];
    if (query.window == 0) {
      result.token = std::move(metrics);
    } else {
      result.windows.push_back(std::move(metrics));
    }
  }
  for (size_t p = 0; p < num_plans; ++p) {
    PlanResult& result = measured.results[p];
    result.prompt = Pooled(result.windows, windows);
    result.prompt.tokens.reset();  // a single window's has them already
    if (!truths[p].empty()) result.against_oracle = Pooled(truths[p], windows);
    measured.all = measured.all && result.measured();
  }
  if (against != oracle) {
    measured.against_oracle = Pooled(truths[against], windows);
  }
  for (PlanResult& result : measured.results) {
    result.nearer = NearerOf(result.against_oracle, measured.against_oracle);
  }
  if (options.greedy == 0 || !measured.all) return measured;
  auto greedy = RunGreedily(run, plans[against], measured.plans, options.prompt,
                            options.greedy);
  measured.all = greedy.ok();
  if (absl::IsCancelled(greedy.status())) return measured;
  if (!greedy.ok()) return greedy.status();
  measured.greedy = std::move(greedy->tokens);
  for (size_t p = 0; p < num_plans; ++p) {
    measured.results[p].greedy = greedy->plans[p];
  }
  return measured;
}

Subject SubjectOfRound(const Run& run, const SweepOptions& options,
                       const Plan& plan, size_t round) {
  Subject subject = SubjectOf("time", run, options.prompt, {{"plan", &plan}});
  subject.version = kTimedRunVersion;
  subject.is_time = true;
  subject.facts.emplace_back("decode_steps",
                             absl::StrCat(options.decode_steps));
  subject.facts.emplace_back("round", absl::StrCat(round));
  return subject;
}

// Places of those ranked plans that are timed; the others that could be are
// marked.
std::vector<size_t> ChooseTimed(size_t most, std::vector<PlanResult>& ranked) {
  std::vector<size_t> all;
  for (size_t i = 0; i < ranked.size(); ++i) {
    ranked[i].not_chosen = false;
    if (!ranked[i].emulated) all.push_back(i);
  }
  if (all.size() <= most) return all;
  for (const size_t i : all) ranked[i].not_chosen = true;
  const size_t first = most - most / 2, rest = all.size() - first;
  std::vector<size_t> chosen(all.begin(),
                             all.begin() + static_cast<ptrdiff_t>(first));
  for (size_t i = 1; i <= most / 2; ++i) {
    chosen.push_back(all[first + i * rest / (most / 2) - 1]);
  }
  for (const size_t i : chosen) ranked[i].not_chosen = false;
  return chosen;
}

// Times ranked plans, in rounds over all that are chosen, so that a slow spell
// of the machine hits all alike. Returns the round in which it was stopped,
// from 1; 0 for none.
absl::StatusOr<size_t> TimePlans(const Run& run, const SweepOptions& options,
                                 const std::vector<Plan>& plans,
                                 std::vector<PlanResult>& ranked) {
  constexpr absl::string_view kTask = "timing";
  constexpr size_t kLeastRounds = 2;
  // Of all runs until now, those that are kept included.
  double spent = 0;
  const std::vector<size_t> timed_plans =
      ChooseTimed(options.most_timed, ranked);
  if (timed_plans.empty()) return 0;
  const size_t total = options.max_rounds * timed_plans.size();
  size_t done = 0;
  for (size_t round = 0; round < options.max_rounds; ++round) {
    if (round >= kLeastRounds && spent > options.timing_seconds) break;
    for (const size_t i : timed_plans) {
      PlanResult& result = ranked[i];
      const Plan& plan = plans[result.index];
      run.monitor.OnProgress(kTask, done++, total, result.plan);
      const Subject subject = SubjectOfRound(run, options, plan, round);
      const auto is_whole = [&](const TimedRun& kept) {
        return IsWhole(kept, options.decode_steps);
      };
      TimedRun timed;
      absl::Status status;
      if (!Recall(run.kept, subject, timed, is_whole)) {
        status =
            TimePlan(run, plan, options.prompt, options.decode_steps, timed);
        if (status.ok()) Retain(run.kept, subject, timed);
      }
      spent += timed.seconds;
      result.timing.Append(timed.timing);
      if (absl::IsCancelled(status)) return round + 1;
      if (!status.ok()) return status;
    }
  }
  run.monitor.OnProgress(kTask, total, total, "");
  return 0;
}

// The metric of each replicate of these windows; empty if there are not two
// with a score.
std::vector<double> ReplicateScores(const RankMetric& metric,
                                    absl::Span<const Window> windows,
                                    absl::Span<const size_t> replicates,
                                    const PlanResult& plan) {
  if (plan.windows.size() != windows.size()) return {};
  std::vector<double> scores;
  for (size_t first = 0; first < windows.size();) {
    size_t end = first;
    while (end < windows.size() && replicates[end] == replicates[first]) ++end;
    const auto score = metric.of(
        plan.token,
        Pooled(absl::MakeConstSpan(plan.windows).subspan(first, end - first),
               windows.subspan(first, end - first)));
    if (!score.has_value()) return {};
    scores.push_back(*score);
    first = end;
  }
  return scores.size() < 2 ? std::vector<double>() : scores;
}

}  // namespace

absl::StatusOr<std::vector<Plan>> PlansOf(const SweepOptions& options,
                                          size_t num_layers) {
  auto swept = SweptPlans(options, num_layers);
  if (!swept.ok()) return swept.status();
  std::vector<Plan> plans;
  for (SweptPlan& of : *swept) plans.push_back(std::move(of.plan));
  return plans;
}

absl::StatusOr<SweepErrors> ErrorsOf(const SweepOptions& options,
                                     size_t num_layers) {
  auto plans = PlansOf(options, num_layers);
  if (!plans.ok()) return plans.status();
  return ErrorsOf(options, *std::move(plans), num_layers);
}

std::vector<Window> WindowsOf(const SweepOptions& options) {
  if (!options.windows.empty()) return options.windows;
  const size_t size = options.prompt.size();
  return {Window{"prompt", 0, options.prompt, 0, size}};
}

void ScorePlans(const SweepOptions& options, std::vector<PlanResult>& plans) {
  const std::vector<Window> windows = WindowsOf(options);
  const std::vector<size_t> replicates = ReplicatesOf(windows);
  for (PlanResult& plan : plans) {
    if (plan.measured()) {
      plan.score = options.metric->of(plan.token, plan.prompt);
      plan.replicate_scores =
          ReplicateScores(*options.metric, windows, replicates, plan);
    }
    plan.decode_rate = RateOf(plan.timing.decode, 1);
    plan.prefill_rate =
        RateOf(plan.timing.prefill, static_cast<double>(options.prompt.size()));
  }
}

absl::StatusOr<SweepResult> RunSweep(
    const Run& run, const SweepOptions& options,
    absl::FunctionRef<void(const SweepResult&)> on_measured) {
  auto measured = MeasurePlans(run, options);
  if (!measured.ok()) return measured.status();
  SweepResult result;
  result.plans = std::move(measured->results);
  result.against_oracle = std::move(measured->against_oracle);
  result.greedy = std::move(measured->greedy);
  const auto rank = [&] {
    // Sums over plans have the bits of one order.
    absl::c_sort(result.plans, [](const PlanResult& a, const PlanResult& b) {
      return a.index < b.index;
    });
    ScorePlans(options, result.plans);
    if (measured->all) {
      result.effects = MainEffects(options.axes, result.plans);
    }
    RankPlans(result.plans);
    MarkLikeOnes(result.plans);
  };
  rank();
  if (!measured->all) {
    result.stopped_in =
        StoppedInErrors(result.plans, run.weights.layers.size());
    return result;
  }
  if (!options.timed) return result;
  result.stopped_in = "before plans were timed";
  on_measured(result);
  result.stopped_in.clear();
  const auto round = TimePlans(run, options, measured->plans, result.plans);
  result.failed = round.status();
  if (round.ok() && *round > 0) {
    result.stopped_in = absl::StrCat("in round ", *round, " of timing");
  }
  rank();
  return result;
}

absl::StatusOr<Plan> WorstPlan(const Run& run, const SweepOptions& options) {
  auto measured = MeasurePlans(run, options);
  if (!measured.ok()) return measured.status();
  if (!measured->all) {
    return absl::CancelledError("while looking for the worst plan");
  }
  std::vector<PlanResult>& results = measured->results;
  ScorePlans(options, results);
  RankPlans(results);
  size_t worst = results.size() - 1;
  while (worst > 0 && !results[worst].score.has_value()) --worst;
  return measured->plans[results[worst].index];
}

}  // namespace ulpscope
