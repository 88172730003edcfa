#ifndef EXPLORER_DIAGNOSIS_NONFINITE_H_
#define EXPLORER_DIAGNOSIS_NONFINITE_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// The largest finite number of a format.
double LargestOf(Format format);

// Why values of an op are not finite, by what there is beside them.
struct NonFiniteEvidence {
  Op op = Op::kEmbed;
  Format format = Format::kF32;  // of its results
  // `theirs` is what is not finite, `exact` the oracle's.
  ComparedValues values;
  size_t head_dim = 0;
  // Of a softmax, what it is of: the scores before it, [rows, cols], with
  // what is not finite if that is so; empty if they are not known.
  std::vector<double> scores;
  // Of a norm, what it is of, and its eps.
  std::vector<double> input;
  double eps = 0;
};
struct NonFiniteCause {
  NonFiniteReason reason = NonFiniteReason::kUnknown;
  std::optional<double> magnitude;  // FirstNonFinite
};
NonFiniteCause CauseOf(const NonFiniteEvidence& evidence);

// The first values of the trace that are not finite; none if all are. The
// belief's arithmetic is replayed to see what it makes of that place; where it
// is finite, and the values were stored in f16, PyTorch's f16 is.
absl::StatusOr<std::optional<FirstNonFinite>> FirstNonFiniteOf(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& trace, const Belief& belief);

// The same of a run of our plan from the tokens on.
absl::StatusOr<std::optional<FirstNonFinite>> FirstNonFiniteOf(
    const ReplaySetting& setting, WeightSets& weights, const Plan& plan);

// Of all values of the points.
FiniteValues CountFinite(const AlignedTrace& trace);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_NONFINITE_H_
