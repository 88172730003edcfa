#ifndef EXPLORER_DIAGNOSIS_TRACED_VALUES_H_
#define EXPLORER_DIAGNOSIS_TRACED_VALUES_H_

#include <cstddef>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/run.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// The coarsest format that holds every finite value of the rows; f64 is what
// nothing else does.
HeldBy FormatHolding(Matrix<const double> rows);

// Its unit roundoff: bf16's of what both 16-bit formats hold.
double UnitRoundoffOf(HeldBy held_by);

bool Holds(Format format, HeldBy held_by);

// An element stands out from its row if it is this many times the median
// magnitude. Where a massive activation is in a row, its rounding is all that a
// norm over the row sees: the other elements are judged by themselves too.
inline constexpr double kStandsOut = 32;

// What a tensor's values are, whichever op they are of.
struct TensorValues {
  HeldBy held_by = HeldBy::kF64;  // of its finite values
  double squares = 0;             // of these, summed
  // Of those that do not stand out, and per row the magnitude from which one
  // does.
  double usual_squares = 0;
  std::vector<double> stands_out_from;
  size_t nonfinite = 0;     // values that are infinite or NaN
  size_t nan = 0;           // of these
  bool any_finite = false;  // whether there are others
};

// A trace, which must outlive it, with what each of its tensors' values are:
// the same for all readings of the trace, and the longest look at it.
class TracedValues {
 public:
  // Cancelled if stopped.
  static absl::StatusOr<TracedValues> Of(const ReferenceTrace& trace,
                                         Monitor& monitor, Parallel& parallel);

  const ReferenceTrace& trace() const { return *trace_; }
  // One of the trace's.
  const TensorValues& Of(const TracedTensor& tensor) const {
    return values_.at(&tensor);
  }

 private:
  explicit TracedValues(const ReferenceTrace& trace) : trace_(&trace) {}

  const ReferenceTrace* trace_;
  std::map<const TracedTensor*, TensorValues> values_;
};

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_TRACED_VALUES_H_
