#ifndef EXPLORER_DIAGNOSIS_ERROR_ROWS_H_
#define EXPLORER_DIAGNOSIS_ERROR_ROWS_H_

#include <cstddef>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// The seed report's table of our plan's run against the trace, with where each
// row's error comes from. `differing` are layers in which the trace's own
// error is more than rounding; num_layers + 1 is the final norm.
//
// With T_n, P_n and O_n the states after layer n of the trace, our plan and the
// oracle, and L the oracle's layer,
//   P_n - T_n = (P_n - L(P_n-1)) + (L(P_n-1) - L(T_n-1)) - (T_n - L(T_n-1))
//                our own           inherited              the trace's own
// and the shares are of the sum of the three's squares. What is inherited
// counts as cancellation as far as a residual add exposed it: where one cancels
// at least two-fold and the inherited error grows A-fold relative to the
// stream, 1 - 1 / A^2 of its square, from there on. If the things compared are
// not the same, all of that is of what is left when those are that belong
// together, and the rest is the comparison's.
absl::StatusOr<std::vector<ErrorRow>> MakeErrorRows(
    const ReplaySetting& setting, const Weights& weights, const Plan& plan,
    const ReferenceTrace& trace, const AlignedTrace& aligned,
    const std::set<size_t>& differing);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ERROR_ROWS_H_
