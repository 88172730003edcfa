#include "explorer/sweep/ranking.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/error/replicates.h"
#include "explorer/sweep/axes.h"

namespace ulpscope {
namespace {

constexpr RankMetric kRankMetrics[] = {
    {"rmse", "RMSE of the final hidden state (before the final norm), prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt)
         -> std::optional<double> { return prompt.final_hidden().rmse; }},
    {"rel_l2", "relative L2 error of the final hidden state, prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt)
         -> std::optional<double> { return prompt.final_hidden().rel_l2; }},
    {"mean_abs", "mean absolute error of the final hidden state, prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt)
         -> std::optional<double> { return prompt.final_hidden().mean_abs; }},
    {"max_abs", "largest absolute error of the final hidden state, prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt)
         -> std::optional<double> { return prompt.final_hidden().max_abs; }},
    {"growth",
     "geometric mean growth of the mean absolute error per layer, "
     "prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt) {
       const auto is_exact = [](const LayerMetrics& layer) {
         return layer.error.mean_abs == 0;
       };
       // What has no error anywhere has none that could grow.
       return absl::c_all_of(prompt.layers, is_exact) ? std::optional<double>(0)
                                                      : prompt.mean_growth;
     }},
    {"kl", "mean KL divergence of the next-token distributions, prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt)
         -> std::optional<double> { return prompt.logits->kl; }},
    {"ordinary_rel_l2",
     "relative L2 error of the final hidden state at positions without a "
     "massive activation, prompt",
     [](const TraceMetrics&, const TraceMetrics& prompt) {
       const auto& ordinary = prompt.layers.back().ordinary;
       return ordinary.has_value() ? std::optional<double>(ordinary->rel_l2)
                                   : std::nullopt;
     }},
    {"token_rmse", "RMSE of the final hidden state, token at position 0",
     [](const TraceMetrics& token, const TraceMetrics&)
         -> std::optional<double> { return token.final_hidden().rmse; }},
};

// [plans]: logarithms of what there is.
using Logarithms = std::vector<std::optional<double>>;

Logarithms LogarithmsOf(
    const std::vector<PlanResult>& plans,
    absl::FunctionRef<std::optional<double>(const PlanResult&)> of) {
  Logarithms logs;
  for (const PlanResult& plan : plans) {
    const std::optional<double> x = of(plan);
    logs.push_back(x.has_value() ? std::optional<double>(std::log(*x)) : x);
  }
  return logs;
}

// Share of the variance of the values that lies between the groups; none where
// nothing varies.
std::optional<double> EtaSquared(const Logarithms& all,
                                 const std::vector<size_t>& group_of,
                                 size_t num_groups) {
  std::vector<double> values;
  std::vector<size_t> group;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i].has_value()) continue;
    values.push_back(*all[i]);
    group.push_back(group_of[i]);
  }
  // The mean of equal values may be rounded: asked first.
  if (std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) ==
      values.end()) {
    return std::nullopt;
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
  if (!(total > 0)) return std::nullopt;
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
Logarithms WithinFiniteRange(Logarithms values) {
  double least = std::numeric_limits<double>::infinity();
  double largest = -least;
  for (const auto& v : values) {
    if (!v.has_value() || !std::isfinite(*v)) continue;
    least = std::min(least, *v);
    largest = std::max(largest, *v);
  }
  for (auto& v : values) {
    if (v.has_value() && !std::isfinite(*v)) v = *v < 0 ? least : largest;
  }
  return values;
}

// Of the plans of a level; none if none has it.
std::optional<double> GeometricMean(const Logarithms& logs,
                                    const std::vector<size_t>& level_of,
                                    size_t level) {
  double sum = 0, count = 0;
  for (size_t i = 0; i < logs.size(); ++i) {
    if (level_of[i] != level || !logs[i].has_value()) continue;
    sum += *logs[i];
    count += 1;
  }
  if (count == 0) return std::nullopt;
  return std::exp(sum / count);
}

// Slower than any speed.
constexpr double kUntimed = -1;

double DecodeSpeed(const PlanResult& plan) {
  return plan.decode_rate.has_value() ? plan.decode_rate->median : kUntimed;
}

// The order of plans whose scores are no numbers to compare.
int ClassOf(const PlanResult& plan) {
  if (!plan.measured()) return 4;
  if (!plan.score.has_value()) return 1;
  return std::isfinite(*plan.score) ? 0 : std::isnan(*plan.score) ? 3 : 2;
}

// What is compared of replicates: errors scatter by factors, so that it is
// their logarithms unless a score is 0.
struct Replicates {
  explicit Replicates(const std::vector<double>& of) : scores(of) {
    if (!absl::c_all_of(of, [](double x) { return x > 0; })) return;
    for (const double x : of) logarithms.push_back(std::log(x));
  }

  const std::vector<double>& scores;
  std::vector<double> logarithms;  // or empty
};

std::optional<bool> Differ(const Replicates& a, const Replicates& b) {
  return a.logarithms.empty() || b.logarithms.empty()
             ? DifferInMean(a.scores, b.scores)
             : DifferInMean(a.logarithms, b.logarithms);
}

}  // namespace

absl::Span<const RankMetric> RankMetrics() { return kRankMetrics; }

void RankPlans(std::vector<PlanResult>& plans) {
  absl::c_stable_sort(plans, [](const PlanResult& a, const PlanResult& b) {
    const int of_a = ClassOf(a), of_b = ClassOf(b);
    if (of_a != of_b) return of_a < of_b;
    if (!a.measured()) return false;
    if (of_a == 0 && *a.score != *b.score) {
      return *a.score < *b.score;
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
    plan.pareto =
        has_equal ? plans[i - 1].pareto : speed > fastest && ClassOf(plan) == 0;
    fastest = std::max(fastest, speed);
  }
}

size_t MarkLikeOnes(std::vector<PlanResult>& plans) {
  std::vector<Replicates> replicates;
  for (const PlanResult& plan : plans) {
    replicates.emplace_back(plan.replicate_scores);
  }
  size_t compared = 0;
  for (size_t i = 0; i < plans.size(); ++i) {
    PlanResult& plan = plans[i];
    plan.last_like.reset();
    if (plan.rank == 0 || plan.replicate_scores.empty()) continue;
    plan.last_like = plan.rank;
    const size_t end = std::min(plans.size(), i + 1 + kMostLikeOnes);
    for (size_t j = i + 1; j < end && plans[j].rank > 0; ++j) {
      ++compared;
      if (Differ(replicates[i], replicates[j]).value_or(true)) break;
      plan.last_like = plans[j].rank;
    }
  }
  return compared;
}

std::vector<MainEffect> MainEffects(const std::vector<Axis>& axes,
                                    const std::vector<PlanResult>& plans) {
  const Logarithms error =
      LogarithmsOf(plans, [](const PlanResult& p) { return p.score; });
  const Logarithms finite_error = WithinFiniteRange(error);
  // A speed of which not all plans are timed says nothing of the axes; but
  // those that are emulated have none.
  const auto speeds = [&](std::optional<Spread> PlanResult::*rate) {
    const auto untimed = [rate](const PlanResult& p) {
      return !p.emulated && !(p.*rate);
    };
    if (absl::c_any_of(plans, untimed)) {
      return Logarithms(plans.size());
    }
    return LogarithmsOf(plans, [rate](const PlanResult& p) {
      return p.emulated ? std::nullopt
                        : std::optional<double>((p.*rate)->median);
    });
  };
  const Logarithms decode = speeds(&PlanResult::decode_rate);
  const Logarithms prefill = speeds(&PlanResult::prefill_rate);
  std::vector<MainEffect> effects;
  for (size_t a = 0; a < axes.size(); ++a) {
    const size_t num_levels = axes[a].levels.size();
    std::vector<size_t> group;
    for (const PlanResult& plan : plans) group.push_back(plan.levels[a]);
    MainEffect effect;
    effect.selector = axes[a].selector;
    for (size_t level = 0; level < num_levels; ++level) {
      const bool emulated = absl::c_all_of(plans, [&](const PlanResult& p) {
        return p.levels[a] != level || p.emulated;
      });
      effect.levels.push_back({axes[a].levels[level],
                               GeometricMean(error, group, level), emulated,
                               GeometricMean(decode, group, level),
                               GeometricMean(prefill, group, level)});
    }
    effect.error_share = EtaSquared(finite_error, group, num_levels);
    effect.decode_share = EtaSquared(decode, group, num_levels);
    effect.prefill_share = EtaSquared(prefill, group, num_levels);
    effects.push_back(std::move(effect));
  }
  return effects;
}

}  // namespace ulpscope
