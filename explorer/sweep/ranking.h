#ifndef EXPLORER_SWEEP_RANKING_H_
#define EXPLORER_SWEEP_RANKING_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/error/nearer.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/greedy.h"

namespace ulpscope {

// What plans can be ranked by; smaller is better for all of them. None where it
// has no meaning, which is something else than NaN, of a plan that broke down.
struct RankMetric {
  const char* name;
  const char* summary;
  std::optional<double> (*of)(const TraceMetrics& token,
                              const TraceMetrics& prompt);
};

absl::Span<const RankMetric> RankMetrics();  // the first is the default

struct PlanResult {
  std::string plan;            // canonical text
  size_t index = 0;            // its place among the plans before any ranking
  std::vector<size_t> levels;  // per axis
  // Errors, of all windows together; those have the prompt's tokens.
  TraceMetrics token, prompt;
  std::vector<TraceMetrics> windows;  // of each, or empty
  // Of the prompt against the oracle, if errors are against another plan.
  std::optional<TraceMetrics> against_oracle;
  // Whether it or that other plan is nearer to the oracle, by the relative
  // error of the final hidden state and by the KL divergence.
  Nearer nearer = Nearer::kUnknown;
  std::optional<GreedyDivergence> greedy;  // none unless asked for
  bool emulated = false;                   // Plan::emulated: it has no times
  bool not_chosen = false;  // nor has it as one beyond SweepOptions::most_timed
  PlanTiming timing;
  // Tokens per second; none without times.
  std::optional<Spread> decode_rate, prefill_rate;
  std::optional<double> score;  // the metric; none unless measured
  // The metric of each replicate (ReplicatesOf); empty if there are not two.
  std::vector<double> replicate_scores;
  size_t rank = 0;  // by score, from 1; 0 unless measured
  // The last place from which replicates do not tell this one: from its own
  // rank to there no plan's score, or its logarithm unless one is 0, differs in
  // the mean (DifferInMean). It is looked for among the next kMostLikeOnes, so
  // that the time is proportional to the plans. None without replicates.
  std::optional<size_t> last_like;
  // Its score is finite, and no other plan is as good in score and decode speed
  // and better in one of them. Not without times.
  bool pareto = false;

  // Its errors were measured in full.
  bool measured() const { return token.complete() && prompt.complete(); }
};

// How much one axis moves the outcome, over the whole factorial.
struct MainEffect {
  std::string selector;
  struct Level {
    std::string strategy;
    // Geometric mean of the metric over plans that have one; may be NaN or
    // infinite.
    std::optional<double> error;
    bool emulated = false;  // whether all plans that have it are
    // Geometric means over the plans that are not emulated, tokens per second;
    // none unless all of these are timed.
    std::optional<double> decode_rate, prefill_rate;
  };
  std::vector<Level> levels;
  // Share of the variance of the logarithm that the axis' levels explain (eta
  // squared of a main effect); none where nothing varies, and of speeds unless
  // all plans are timed that are not emulated, of which it then is. A score of
  // 0 counts as the smallest positive one of the plans, and one that is not
  // finite as the largest finite one.
  std::optional<double> error_share, decode_share, prefill_share;
};

// Sorts plans by score, of equal ones the fastest first; behind the finite
// ones those without a score, infinite ones, NaN and those that were not
// measured. Sets rank and pareto.
void RankPlans(std::vector<PlanResult>& plans);

inline constexpr size_t kMostLikeOnes = 256;

// Sets last_like of ranked plans. Returns how many pairs were compared.
size_t MarkLikeOnes(std::vector<PlanResult>& plans);

std::vector<MainEffect> MainEffects(const std::vector<Axis>& axes,
                                    const std::vector<PlanResult>& plans);

}  // namespace ulpscope

#endif  // EXPLORER_SWEEP_RANKING_H_
