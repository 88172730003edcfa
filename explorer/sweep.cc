#include "explorer/sweep.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "explorer/evaluation.h"
#include "explorer/metrics.h"
#include "explorer/progress.h"
#include "kernels/parallel.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {
namespace {

constexpr RankMetric kRankMetrics[] = {
    {"rmse", "RMSE of the final hidden state (before the final norm), prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt) {
       return prompt.final_hidden().rmse;
     }},
    {"rel_l2", "relative L2 error of the final hidden state, prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt) {
       return prompt.final_hidden().rel_l2;
     }},
    {"mean_abs", "mean absolute error of the final hidden state, prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt) {
       return prompt.final_hidden().mean_abs;
     }},
    {"max_abs", "largest absolute error of the final hidden state, prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt) {
       return prompt.final_hidden().max_abs;
     }},
    {"growth",
     "geometric mean growth of the mean absolute error per layer, "
     "prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt) {
       return prompt.mean_growth;
     }},
    {"kl", "mean KL divergence of the next-token distributions, prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt) {
       return prompt.logits->kl;
     }},
    {"token_rmse", "RMSE of the final hidden state, token at position 0",
     [](const TraceMetrics& token, const TraceMetrics&) {
       return token.final_hidden().rmse;
     }},
};

// Share of the variance of `values` that lies between the groups.
double EtaSquared(const std::vector<double>& values,
                  const std::vector<size_t>& group, size_t num_groups) {
  // The mean of equal values may be rounded: asked first.
  if (std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) ==
      values.end()) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  double mean = 0;
  for (const double v : values) mean += v / static_cast<double>(values.size());
  std::vector<double> sums(num_groups, 0), counts(num_groups, 0);
  double total = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sums[group[i]] += values[i];
    counts[group[i]] += 1;
    total += (values[i] - mean) * (values[i] - mean);
  }
  if (!(total > 0)) return std::numeric_limits<double>::quiet_NaN();
  double between = 0;
  for (size_t g = 0; g < num_groups; ++g) {
    if (counts[g] == 0) continue;
    const double difference = sums[g] / counts[g] - mean;
    between += counts[g] * difference * difference;
  }
  return between / total;
}

// -inf becomes the least finite value, +inf and NaN the largest. A perfect plan
// or a broken one would otherwise leave no variance to share.
std::vector<double> WithinFiniteRange(std::vector<double> values) {
  double least = std::numeric_limits<double>::infinity();
  double largest = -least;
  for (const double v : values) {
    if (!std::isfinite(v)) continue;
    least = std::min(least, v);
    largest = std::max(largest, v);
  }
  for (double& v : values) {
    if (!std::isfinite(v)) v = v < 0 ? least : largest;
  }
  return values;
}

// All combinations of levels, the last axis varying fastest.
std::vector<std::vector<size_t>> Factorial(const std::vector<Axis>& axes) {
  std::vector<std::vector<size_t>> combinations = {{}};
  for (const Axis& axis : axes) {
    std::vector<std::vector<size_t>> longer;
    for (const std::vector<size_t>& combination : combinations) {
      for (size_t level = 0; level < axis.levels.size(); ++level) {
        longer.push_back(combination);
        longer.back().push_back(level);
      }
    }
    combinations = std::move(longer);
  }
  return combinations;
}

// The plan of one combination: a level per axis.
absl::StatusOr<Plan> PlanAt(const std::vector<Axis>& axes,
                            const std::vector<size_t>& levels,
                            size_t num_layers) {
  std::vector<std::string> entries;
  for (size_t a = 0; a < levels.size(); ++a) {
    entries.push_back(
        absl::StrCat(axes[a].selector, "=", axes[a].levels[levels[a]]));
  }
  return Plan::Parse(absl::StrJoin(entries, ","), num_layers);
}

// Slower than any speed.
constexpr double kUntimed = -1;

double DecodeSpeed(const PlanResult& plan) {
  const double rate = plan.decode_rate.median;
  return std::isnan(rate) ? kUntimed : rate;
}

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
absl::StatusOr<bool> MeasurePlans(const Weights& weights,
                                  const SweepOptions& options,
                                  const std::vector<Plan>& plans,
                                  Parallel& parallel,
                                  std::vector<PlanResult>& results) {
  Progress progress("errors", 1);
  const std::string what = absl::StrCat(plans.size(), " plans");
  ErrorOptions error_options;
  error_options.memory = options.memory;
  error_options.stop = options.stop;
  error_options.progress = [&](size_t done, size_t total) {
    progress.SetTotal(total);
    progress.Update(done, what);
  };
  auto errors = MeasureErrors(weights, plans, {{options.token}, options.prompt},
                              error_options, parallel);
  if (!errors.ok()) return errors.status();
  bool all = true;
  for (size_t i = 0; i < plans.size(); ++i) {
    PlanResult& result = results[i];
    result.token = std::move((*errors)[i][0]);
    result.prompt = std::move((*errors)[i][1]);
    all = all && result.measured();
    result.score = result.measured()
                       ? options.metric->of(result.token, result.prompt)
                       : std::numeric_limits<double>::quiet_NaN();
  }
  if (all) progress.Finish();
  return all;
}

// Times the plans in rounds over all of them, so that a slow spell of the
// machine hits all alike. Returns the round in which it was stopped, from 1; 0
// for none.
absl::StatusOr<size_t> TimePlans(const Weights& weights,
                                 const SweepOptions& options,
                                 const std::vector<Plan>& plans,
                                 Parallel& parallel,
                                 std::vector<PlanResult>& results) {
  constexpr size_t kLeastRounds = 2;
  const absl::Time start = absl::Now();
  Progress progress("timing", options.max_rounds * plans.size());
  for (size_t round = 0; round < options.max_rounds; ++round) {
    const double spent = absl::ToDoubleSeconds(absl::Now() - start);
    if (round >= kLeastRounds && spent > options.timing_seconds) break;
    for (size_t i = 0; i < plans.size(); ++i) {
      progress.Update(round * plans.size() + i, results[i].plan);
      const absl::Status status =
          TimePlan(weights, plans[i], options.prompt, options.decode_steps,
                   options.stop, parallel, results[i].timing);
      if (absl::IsCancelled(status)) return round + 1;
      if (!status.ok()) return status;
    }
  }
  progress.Finish();
  return 0;
}

}  // namespace

absl::Span<const RankMetric> RankMetrics() { return kRankMetrics; }

absl::StatusOr<std::vector<Axis>> ParseAxes(absl::string_view text,
                                            size_t num_layers) {
  std::vector<Axis> axes;
  std::set<std::string> selectors;
  for (absl::string_view entry : absl::StrSplit(text, ';')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(entry, absl::MaxSplits('=', 1));
    Axis axis;
    axis.selector = std::string(absl::StripAsciiWhitespace(parts.first));
    // (Abseil splits a missing second part into nothing, not into "".)
    if (!absl::StrContains(entry, '=') ||
        absl::StrContains(axis.selector, ',')) {
      return absl::InvalidArgumentError(
          absl::StrCat("axis '", entry, "': expected SELECTOR=STRATEGY,..."));
    }
    std::set<std::string> levels;
    for (absl::string_view level : absl::StrSplit(parts.second, ',')) {
      axis.levels.emplace_back(absl::StripAsciiWhitespace(level));
      const std::string plan =
          absl::StrCat(axis.selector, "=", axis.levels.back());
      const auto parsed = Plan::Parse(plan, num_layers);
      if (!parsed.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "axis '", entry,
            "': expected SELECTOR=STRATEGY,...: ", parsed.status().message()));
      }
      if (!levels.insert(axis.levels.back()).second) {
        return absl::InvalidArgumentError(absl::StrCat(
            "axis '", entry, "': ", axis.levels.back(), " stands twice"));
      }
    }
    if (!selectors.insert(axis.selector).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("axes '", text, "': ", axis.selector, " stands twice"));
    }
    axes.push_back(std::move(axis));
  }
  size_t num_plans = 1;
  for (const Axis& axis : axes) {
    num_plans *= axis.levels.size();
    if (num_plans > kMaxPlans) {
      return absl::InvalidArgumentError(
          absl::StrCat("axes '", text, "': more than ", kMaxPlans,
                       " combinations of strategies"));
    }
  }
  // An axis that later ones overwrite would seem to have no effect.
  std::vector<size_t> levels(axes.size(), 0);
  const auto base = PlanAt(axes, levels, num_layers);
  if (!base.ok()) return base.status();
  for (size_t a = 0; a < axes.size(); ++a) {
    if (axes[a].levels.size() < 2) continue;
    levels[a] = 1;
    const auto plan = PlanAt(axes, levels, num_layers);
    if (!plan.ok()) return plan.status();
    if (*plan == *base) {
      return absl::InvalidArgumentError(absl::StrCat(
          "axes '", text, "': later axes overwrite all of ", axes[a].selector));
    }
    levels[a] = 0;
  }
  return axes;
}

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

void RankPlans(std::vector<PlanResult>& plans) {
  std::stable_sort(plans.begin(), plans.end(),
                   [](const PlanResult& a, const PlanResult& b) {
                     if (a.measured() != b.measured()) return a.measured();
                     if (!a.measured()) return false;
                     // NaN, of a plan that broke down, ranks last.
                     if (std::isnan(a.score) || std::isnan(b.score)) {
                       if (std::isnan(a.score) != std::isnan(b.score)) {
                         return std::isnan(b.score);
                       }
                     } else if (a.score != b.score) {
                       return a.score < b.score;
                     }
                     return DecodeSpeed(a) > DecodeSpeed(b);
                   });
  double fastest = kUntimed;
  for (size_t i = 0; i < plans.size(); ++i) {
    PlanResult& plan = plans[i];
    plan.rank = 0;
    plan.pareto = false;
    if (!plan.measured()) continue;
    plan.rank = i + 1;
    const double speed = DecodeSpeed(plan);
    // All plans before this one are at least as accurate; its equals stand
    // directly before it.
    const bool has_equal = i > 0 && plan.score == plans[i - 1].score &&
                           speed == DecodeSpeed(plans[i - 1]);
    plan.pareto = has_equal ? plans[i - 1].pareto
                            : speed > fastest && std::isfinite(plan.score);
    fastest = std::max(fastest, speed);
  }
}

std::vector<MainEffect> MainEffects(const std::vector<Axis>& axes,
                                    const std::vector<PlanResult>& plans) {
  std::vector<double> error, decode, prefill;
  for (const PlanResult& plan : plans) {
    error.push_back(std::log(plan.score));
    decode.push_back(std::log(plan.decode_rate.median));
    prefill.push_back(std::log(plan.prefill_rate.median));
  }
  const std::vector<double> finite_error = WithinFiniteRange(error);
  std::vector<MainEffect> effects;
  for (size_t a = 0; a < axes.size(); ++a) {
    const size_t num_levels = axes[a].levels.size();
    std::vector<size_t> group;
    group.reserve(plans.size());
    for (const PlanResult& plan : plans) group.push_back(plan.levels[a]);
    MainEffect effect;
    effect.selector = axes[a].selector;
    for (size_t level = 0; level < num_levels; ++level) {
      double count = 0, e = 0, d = 0, p = 0;
      for (size_t i = 0; i < plans.size(); ++i) {
        if (group[i] != level) continue;
        count += 1;
        e += error[i];
        d += decode[i];
        p += prefill[i];
      }
      effect.levels.push_back({axes[a].levels[level], std::exp(e / count),
                               std::exp(d / count), std::exp(p / count)});
    }
    effect.error_share = EtaSquared(finite_error, group, num_levels);
    effect.decode_share = EtaSquared(decode, group, num_levels);
    effect.prefill_share = EtaSquared(prefill, group, num_levels);
    effects.push_back(std::move(effect));
  }
  return effects;
}

absl::StatusOr<SweepResult> RunSweep(const Weights& weights,
                                     const SweepOptions& options,
                                     Parallel& parallel) {
  const size_t num_layers = weights.layers.size();
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

  const auto all =
      MeasurePlans(weights, options, plans, parallel, result.plans);
  if (!all.ok()) return all.status();
  if (*all) {
    const auto round =
        TimePlans(weights, options, plans, parallel, result.plans);
    if (!round.ok()) return round.status();
    if (*round > 0) {
      result.stopped_in = absl::StrCat("in round ", *round, " of timing");
    }
  } else {
    result.stopped_in = StoppedInErrors(result.plans, num_layers);
  }
  for (PlanResult& plan : result.plans) {
    plan.decode_rate = RateOf(plan.timing.decode, 1);
    plan.prefill_rate =
        RateOf(plan.timing.prefill, static_cast<double>(options.prompt.size()));
  }
  if (*all) result.effects = MainEffects(options.axes, result.plans);
  RankPlans(result.plans);
  return result;
}

absl::StatusOr<Plan> WorstPlan(const Weights& weights,
                               const SweepOptions& options,
                               Parallel& parallel) {
  const size_t num_layers = weights.layers.size();
  const auto plans = PlansOf(options, num_layers);
  if (!plans.ok()) return plans.status();
  std::vector<PlanResult> results(plans->size());
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].plan = (*plans)[i].Text();
  }
  const auto all = MeasurePlans(weights, options, *plans, parallel, results);
  if (!all.ok()) return all.status();
  if (!*all) return absl::CancelledError("while looking for the worst plan");
  RankPlans(results);
  return Plan::Parse(results.back().plan, num_layers);
}

}  // namespace ulpscope
