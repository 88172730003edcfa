#ifndef EXPLORER_ERROR_EVALUATION_H_
#define EXPLORER_ERROR_EVALUATION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/error/archive.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "explorer/error/windows.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// Errors that are asked for: of a plan on a window, against another plan on it.
// Indices of the arguments of MeasureErrors.
struct ErrorQuery {
  size_t plan, reference;
  size_t window;
};

// [queries]: their errors, each window run at once from position 0. Those that
// are not kept run in lockstep, the windows of as many at once as a part of the
// memory holds the references' runs of; where that is stopped, what was not
// reached is missing. InvalidArgument for a window that is empty or has a token
// that is not in the vocabulary.
absl::StatusOr<std::vector<TraceMetrics>> MeasureErrors(
    const Run& run, absl::Span<const Plan> plans,
    absl::Span<const Window> windows, absl::Span<const ErrorQuery> queries);

// Times of one plan, in seconds.
struct PlanTiming {
  std::vector<double> prefill;  // of the whole prompt
  std::vector<double> decode;   // of one token after it

  void Append(const PlanTiming& other);
};

// Of one TimePlan, and how long the whole of it took.
struct TimedRun {
  PlanTiming timing;
  double seconds = 0;
};

inline constexpr int kTimedRunVersion = 1;  // explorer/error/archived_metrics.h
void Visit(Archive& archive, TimedRun& timed);
bool IsWhole(const TimedRun& timed, size_t decode_steps);

// Runs and times a prompt and `decode_steps` more tokens, without observing,
// into the empty `timed`. The plan runs alone: nothing else may use the run's
// threads. Cancelled if stopped on the way; `timed` then has the times of what
// was finished.
absl::Status TimePlan(const Run& run, const Plan& plan,
                      const std::vector<int32_t>& prompt, size_t decode_steps,
                      TimedRun& timed);

// A median, and half the distance between the quartiles as its spread.
struct Spread {
  double median = 0;
  double half_iqr = 0;
};

// Of `count` items per each of the times: items per second; none of no times.
std::optional<Spread> RateOf(const std::vector<double>& seconds, double count);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_EVALUATION_H_
