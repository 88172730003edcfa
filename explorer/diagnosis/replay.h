#ifndef EXPLORER_DIAGNOSIS_REPLAY_H_
#define EXPLORER_DIAGNOSIS_REPLAY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/points.h"
#include "kernels/base/parallel.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {

// A way in which the trace may have been computed.
struct Candidate {
  Plan plan{0};
  Variant variant = {};
  // What it is given: the trace's own outputs, for a replay; null for a run of
  // its own from the tokens on.
  const GivenOutputs* given = nullptr;
  // Whether its outputs are rounded to the trace's format before they are
  // compared, as when they are written.
  bool stored_rounded = false;
};

// How far a candidate is from the trace at one point. Theirs is T's value, ours
// the candidate's.
struct Residual {
  size_t elements = 0;  // compared
  // Of all elements, and of those of theirs that do not stand out (points.h):
  // sums over what is finite.
  struct Part {
    double squares = 0;  // of theirs - ours
    // Of ours minus the first candidate's.
    double own_squares = 0;
    // Squares and fourth powers of the rounding error that is to be expected of
    // ours: its distance from the first candidate's, but no less than what one
    // rounding of it to the op's result format makes on average, u |x| /
    // sqrt(3). A distance alone is one draw, and may be 0.
    double noise_squares = 0, noise_quartic = 0;
  };
  Part all, usual;
  size_t nonfinite = 0;  // elements of which just one is finite, or that are
                         // not the same infinity or NaN
  size_t theirs_nonfinite = 0;  // of these, those that theirs is not finite at
  // The same of ours and the first candidate's; and of ours all that are not
  // finite.
  size_t own_nonfinite = 0, ours_nonfinite = 0;
  size_t identical = 0;  // elements that are the same
  // Rows in which ours and the second candidate differ, and those of them in
  // which at least nine of ten elements where they do are theirs in ours. None
  // of the first candidate's.
  size_t rows_moved = 0, rows_hit = 0;
  // Were ours rounded to a 16-bit format: how many elements are expected to be
  // rounded the other way if ours is off by its distance from the first
  // candidate's (no less than one rounding): 2 e / spacing each.
  double flips_bf16 = 0, flips_f16 = 0;
  // Of a run from the tokens on, at the states after layers, the final norm and
  // the logits: the sums by row of theirs.
  struct Row {
    double theirs_squares = 0;
    double squares = 0, own_squares = 0;  // as Part's, of all elements
    size_t nonfinite = 0, own_nonfinite = 0;
  };
  std::vector<Row> rows;
};

// Whether a point is what a program hands on: a state after a layer, the final
// norm's or the logits.
bool IsHandedOn(Op op);

// The relative L2 distance of a candidate from the trace at a point, and of the
// candidate from the first one by the trace's norm, both over the elements at
// which the trace is finite; 0 / 0 is 0. None if the candidate does not compute
// the point, NaN if no value of the trace is finite, infinite if the candidate
// is not finite where the trace (the first one) is.
std::optional<double> RelativeDistance(const Point& point,
                                       const Residual& residual);
std::optional<double> RelativeOwnDistance(const Point& point,
                                          const Residual& residual);

// [candidate][point]
using Residuals = std::vector<std::vector<Residual>>;

// What all runs of a diagnosis have in common.
struct ReplaySetting {
  absl::Span<const int32_t> tokens;
  // Candidates whose activations would take more are run in several passes, of
  // three at least.
  size_t memory = SIZE_MAX;
  Monitor& monitor;
  // Called with the share of some runs that is done, and what they are for.
  std::function<void(double share, absl::string_view what)> progress;
  Parallel& parallel;
};

// Runs all candidates in lockstep; `what` is for the setting's progress.
// Cancelled if stopped.
absl::StatusOr<Residuals> MeasureCandidates(
    const ReplaySetting& setting, const Weights& weights,
    const AlignedTrace& trace, absl::Span<const Candidate> candidates,
    absl::string_view what);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_REPLAY_H_
