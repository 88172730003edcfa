#ifndef KERNELS_TUNE_TUNING_SEARCH_H_
#define KERNELS_TUNE_TUNING_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {

// What is tuned, as the search sees it.
class TuningSubject {
 public:
  virtual ~TuningSubject() = default;

  // Seconds of a call with this tuning. Calls differ by noise.
  virtual double Time(const MatMulTuning& tuning) = 0;
  // Whether a call with this tuning gives the right result.
  virtual bool IsRight(const MatMulTuning& tuning) = 0;
  // Seconds since some start.
  virtual double Clock() = 0;
  // Whether both make the same calls: the second would only be timed again, and
  // its noise be taken for a gain.
  virtual bool AreTheSame(const MatMulTuning& a, const MatMulTuning& b) {
    return a == b;
  }
  // Asked between calls; true ends the search.
  virtual bool Stopped() { return false; }
};

// Values of one parameter to try, besides the default.
struct TuningChoices {
  uint32_t MatMulTuning::*parameter;
  std::vector<uint32_t> values;
};

struct TuningResult {
  MatMulTuning best;
  // Medians; of the best, the default's times the ratio of both.
  double default_seconds = 0;
  double best_seconds = 0;
  double worst_seconds = 0;  // of what gave right results
  size_t candidates = 1;     // tunings that were tried, the default among them
  size_t wrong = 0;          // of them, gave wrong results
  bool complete = true;      // no parameter was left out for lack of time
};

// Coordinate descent from the default: for one parameter after the other, all
// its choices are timed in interleaved rounds, and one that is faster than what
// was best so far, beyond the noise, takes its place. At the end the best and
// the default are timed again, in fresh rounds, as the best of many was perhaps
// only lucky; unless it gains more than the noise, the result is the default.
// When most of `seconds` have passed, no further parameter is begun, and there
// are fewer rounds. FailedPrecondition if even the default's result is wrong;
// Cancelled if stopped.
absl::StatusOr<TuningResult> SearchTuning(
    TuningSubject& subject, const std::vector<TuningChoices>& choices,
    double seconds);

// Whether times whose per-round ratios to other times are these are shorter by
// more than the noise: the median is below 1 by at least 1 %, and by 3 standard
// errors of a median as the ratios' median absolute deviation estimates them.
// For tests.
bool IsFaster(std::vector<double> ratios);

}  // namespace ulpscope

#endif  // KERNELS_TUNE_TUNING_SEARCH_H_
