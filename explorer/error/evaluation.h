#ifndef EXPLORER_ERROR_EVALUATION_H_
#define EXPLORER_ERROR_EVALUATION_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/error/metrics.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

struct ErrorOptions {
  size_t memory = SIZE_MAX;  // bytes for the runs, the oracle's logits included
  // As of LockstepOptions; null for none.
  std::function<bool()> stop;
  std::function<void(size_t done, size_t total)> progress;
};

// [plan][sequence]: errors of every plan against the oracle on every sequence
// of tokens, each run at once from position 0. All run in lockstep; where that
// is stopped, what was not reached is missing. InvalidArgument for a sequence
// that is empty or has a token that is not in the vocabulary.
absl::StatusOr<std::vector<std::vector<TraceMetrics>>> MeasureErrors(
    const Weights& weights, absl::Span<const Plan> plans,
    absl::Span<const std::vector<int32_t>> sequences,
    const ErrorOptions& options, Parallel& parallel);

// Times of one plan, in seconds.
struct PlanTiming {
  std::vector<double> prefill;  // of the whole prompt
  std::vector<double> decode;   // of one token after it
};

// Runs and times a prompt and `decode_steps` more tokens, without observing,
// and adds to `timing`. The plan runs alone: nothing else may use `parallel`.
// Cancelled if `stop`, unless null, says true on the way; what was finished
// until then is in `timing`.
absl::Status TimePlan(const Weights& weights, const Plan& plan,
                      const std::vector<int32_t>& prompt, size_t decode_steps,
                      const std::function<bool()>& stop, Parallel& parallel,
                      PlanTiming& timing);

// A median, and half the distance between the quartiles as its spread.
struct Spread {
  double median = 0;
  double half_iqr = 0;
};

// Of `count` items per each of the times: items per second. No times give NaN.
Spread RateOf(const std::vector<double>& seconds, double count);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_EVALUATION_H_
