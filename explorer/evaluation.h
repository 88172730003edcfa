#ifndef EXPLORER_EVALUATION_H_
#define EXPLORER_EVALUATION_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "explorer/metrics.h"
#include "kernels/parallel.h"
#include "model/plan.h"
#include "model/trace.h"
#include "model/weights.h"

namespace ulpscope {

// Measures plans against the oracle on one sequence of tokens.
class Evaluation {
 public:
  // Runs the oracle. `weights` and `parallel` must outlive the evaluation.
  static absl::StatusOr<Evaluation> Create(const Weights& weights,
                                           std::vector<int32_t> tokens,
                                           Parallel& parallel);

  // Runs the plan on the same tokens, all at once.
  absl::StatusOr<TraceMetrics> Measure(const Plan& plan) const;

  const std::vector<int32_t>& tokens() const { return tokens_; }

 private:
  Evaluation(const Weights& weights, std::vector<int32_t> tokens,
             Parallel& parallel)
      : weights_(&weights),
        tokens_(std::move(tokens)),
        parallel_(&parallel),
        oracle_(weights.config) {}

  absl::Status Run(const Plan& plan, Trace& trace) const;

  const Weights* weights_;
  std::vector<int32_t> tokens_;
  Parallel* parallel_;
  Trace oracle_;
};

// Times of one plan, in seconds.
struct PlanTiming {
  std::vector<double> prefill;  // of the whole prompt
  std::vector<double> decode;   // of one token after it
};

// Runs and times a prompt and `decode_steps` more tokens, without observing,
// and adds to `timing`. The plan runs alone: nothing else may use `parallel`.
absl::Status TimePlan(const Weights& weights, const Plan& plan,
                      const std::vector<int32_t>& prompt, size_t decode_steps,
                      Parallel& parallel, PlanTiming& timing);

// A median, and half the distance between the quartiles as its spread.
struct Spread {
  double median = 0;
  double half_iqr = 0;
};

// Of `count` items per each of the times: items per second. No times give 0.
Spread RateOf(const std::vector<double>& seconds, double count);

}  // namespace ulpscope

#endif  // EXPLORER_EVALUATION_H_
