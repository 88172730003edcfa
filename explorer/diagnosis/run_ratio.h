#ifndef EXPLORER_DIAGNOSIS_RUN_RATIO_H_
#define EXPLORER_DIAGNOSIS_RUN_RATIO_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"

namespace ulpscope {

// Of what a program hands on (IsHandedOn), how far a trace T is from the oracle
// O, by how far a run A of an arithmetic from the tokens on is: |T - O| /
// |A - O|, each no less than what keeping T in its format does. Two runs that
// round as often and as coarsely are about as far away, whatever the order of
// their sums: what rounds much less, or more, is not T's arithmetic.
struct RunRatio {
  double of_points = 0;  // geometric mean over points, of all their rows
  double of_rows = 0;    // geometric mean over all rows of all points
  double largest_row = 0, smallest_row = 0;  // of these

  // Whether T is as near the oracle as the arithmetic's rounding allows: a
  // mistake would show as more in some row.
  bool within_rounding() const;
  // Whether T may have been computed so: not if the run, or T, is ten times
  // nearer to the oracle than the other, nor if T has a row that is far too
  // good for it.
  bool plausible() const;
  // |log2 of_points|
  double bits() const;
};

// `oracle` and `run` are residuals of runs, of which the oracle's is the first
// candidate. None if the trace has nothing that is handed on.
std::optional<RunRatio> RunRatioOf(const AlignedTrace& trace,
                                   const std::vector<Residual>& oracle,
                                   const std::vector<Residual>& run);

// Of each belief; none also where it has other weights than the oracle.
absl::StatusOr<std::vector<std::optional<RunRatio>>> RunRatios(
    const ReplaySetting& setting, const WeightSets& weights,
    const AlignedTrace& trace, absl::Span<const Belief> beliefs);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_RUN_RATIO_H_
