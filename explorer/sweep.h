#ifndef EXPLORER_SWEEP_H_
#define EXPLORER_SWEEP_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/evaluation.h"
#include "explorer/metrics.h"
#include "kernels/parallel.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {

// One factor of the factorial: a plan's selector, and strategies to give it.
struct Axis {
  std::string selector;             // "matmul", "down_proj@22-23"
  std::vector<std::string> levels;  // strategy names
};

// {f32, kahan, bf16} for each of matmul, rmsnorm and softmax: 27 plans.
inline constexpr char kDefaultAxes[] =
    "matmul=f32,kahan,bf16;rmsnorm=f32,kahan,bf16;softmax=f32,kahan,bf16";

// The most plans that a factorial may have.
inline constexpr size_t kMaxPlans = 4096;

// Reads "matmul=f32,kahan;residual=f32,bf16". Levels must be strategies that
// the selector takes, each once, and selectors must differ. As in a plan, a
// later axis wins where two overlap; it must leave something to the earlier
// one. InvalidArgument that names the axis otherwise, or for too many plans.
absl::StatusOr<std::vector<Axis>> ParseAxes(absl::string_view text,
                                            size_t num_layers);

// What plans can be ranked by; smaller is better for all of them.
struct RankMetric {
  const char* name;
  const char* summary;
  double (*of)(const TraceMetrics& token, const TraceMetrics& prompt);
};

absl::Span<const RankMetric> RankMetrics();  // the first is the default

struct SweepOptions {
  std::vector<Axis> axes;          // of a factorial, or
  std::vector<std::string> plans;  // these plans, if axes is empty
  int32_t token = 0;               // alone at position 0
  std::vector<int32_t> prompt;
  const RankMetric* metric = nullptr;
  size_t max_rounds = 5;       // of timing; at least 2 are made
  double timing_seconds = 60;  // no further round starts after that
  size_t decode_steps = 3;     // per round
  size_t memory = SIZE_MAX;    // ErrorOptions
  std::function<bool()> stop;  // asked often; true ends the sweep. Or null
};

struct PlanResult {
  std::string plan;            // canonical text
  std::vector<size_t> levels;  // per axis
  TraceMetrics token, prompt;  // errors
  PlanTiming timing;
  Spread decode_rate, prefill_rate;  // tokens per second; NaN without times
  double score = 0;                  // the metric; only if measured
  size_t rank = 0;                   // by score, from 1; 0 unless measured
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
    double error = 0;        // geometric mean of the metric; may be NaN or inf
    double decode_rate = 0;  // geometric means, tokens per second
    double prefill_rate = 0;
  };
  std::vector<Level> levels;
  // Share of the variance of the logarithm that the axis' levels explain (eta
  // squared of a main effect); NaN where nothing varies. There a score of 0
  // counts as the smallest positive one of the plans, and one that is not
  // finite as the largest finite one.
  double error_share = 0;
  double decode_share = 0;
  double prefill_share = 0;
};

struct SweepResult {
  std::vector<PlanResult> plans;    // best first
  std::vector<MainEffect> effects;  // none unless all plans are measured
  // "while measuring errors, after layer 7 of 24", if the sweep was stopped.
  std::string stopped_in;
};

// The plans that RunSweep measures.
absl::StatusOr<std::vector<Plan>> PlansOf(const SweepOptions& options,
                                          size_t num_layers);

// Measures every plan's errors, in lockstep, then times the plans in
// interleaved rounds. If it is stopped the result has what was measured until
// then, and no plan is timed whose errors were not all measured.
absl::StatusOr<SweepResult> RunSweep(const Weights& weights,
                                     const SweepOptions& options,
                                     Parallel& parallel);

// Sorts plans by score, of equal ones the fastest first, infinite ones, then
// NaN and then those that were not measured last, and sets rank and pareto. For
// tests, as MainEffects.
void RankPlans(std::vector<PlanResult>& plans);
std::vector<MainEffect> MainEffects(const std::vector<Axis>& axes,
                                    const std::vector<PlanResult>& plans);

// The plan that a sweep with these options would rank last, without timing
// any. Cancelled if stopped.
absl::StatusOr<Plan> WorstPlan(const Weights& weights,
                               const SweepOptions& options, Parallel& parallel);

}  // namespace ulpscope

#endif  // EXPLORER_SWEEP_H_
