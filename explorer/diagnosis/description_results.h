#ifndef EXPLORER_DIAGNOSIS_DESCRIPTION_RESULTS_H_
#define EXPLORER_DIAGNOSIS_DESCRIPTION_RESULTS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/format.h"
#include "model/architecture/op.h"

namespace ulpscope {

// Indices from `first` to `last`, both included.
struct IndexRange {
  size_t first = 0, last = 0;
};
using IndexRanges = std::vector<IndexRange>;  // ascending, not adjacent

// Those of the indices from `offset` on that are set.
IndexRanges RangesOf(const std::vector<bool>& set, size_t offset = 0);

// Where a difference may be: in the point's own op, or in one of those between
// it and the nearest values before it that the trace has.
struct Origin {
  size_t layer = 0;  // the point's
  Op op = Op::kEmbed;
  // Ops before the point that the trace does not have, in the order in which
  // they run, each once, and the layers that they and the point are in. Empty
  // if it is the point's own.
  std::vector<Op> unseen;
  size_t first_layer = 0, last_layer = 0;
  // Whether nothing between the layers' ends is traced, and whether they are
  // all of the model.
  bool whole_layers = false, whole_model = false;
};

// In which order T has our values.
enum class OrderKind {
  kNeighbours,       // of each head (i, i + d / 2) stand together: Meta's Llama
  kHalves,           // the way back: (2 i, 2 i + 1) are half a head apart
  kHalvesSwapped,    // the second half of each head first
  kReversed,         // of each head
  kTransposedHeads,  // [heads, d] as [d, heads]
  kTransposedBack,   // [d, heads] as [heads, d]
  kHeads,            // whole heads in another order
  kOther,
};

struct ValueOrder {
  OrderKind kind = OrderKind::kOther;
  // That the order is of, and whether the tensor has so many; of kOther
  // neither is known.
  size_t heads = 0;
  bool right_heads = false;
  // Of queries and keys: whether rotating neighbours gives the model's scores
  // with it, which takes kNeighbours with the right heads.
  std::optional<bool> consistent_with_neighbours;
  size_t moved = 0;  // channels that are elsewhere
};

// theirs - ours, the same vector in all rows that differ.
struct ConstantVector {
  double size = 0;     // its 2-norm by that of a row of T, root mean square
  std::string tensor;  // of the checkpoint that it is; empty: of none
  int sign = 0;        // of that: -1 is left out, 1 is added once more
};

// Each row has a factor of its own, by which ours is T's.
struct RowFactors {
  // Rows are heads of a position (of q_norm and k_norm), else positions.
  bool of_heads = false;
  size_t rows = 0;
  double least = 0, largest = 0;
  // Of elements: the share that has T's bits when the exact values are
  // multiplied by the factor and rounded, and the same without factors. None
  // beyond rounding, where no bits are to be expected.
  std::optional<double> identical, identical_without;
  // Of a norm: whether they are 1 / rms rounded to this format.
  std::optional<Format> inverse_rms;
};

enum class DescribedAs {
  kUnexplained,
  kNotReproduced,
  kExplained,
  kWithoutEffect,  // nothing explains it, and T's results are right
};

// A point that differs, beside the replay of the arithmetic found; with all
// causes, unless they explain it.
struct PointDescription {
  size_t point = 0;  // an index into the points
  DescribedAs status = DescribedAs::kUnexplained;
  IndexRanges layers;  // in which the op is in the same case
  Origin origin;
  // Within what is allowed of each alone, beyond it, and bit for bit. Not all
  // positions are looked at where they take too much memory.
  size_t positions = 0;  // looked at
  IndexRanges positions_that_agree, positions_that_differ, positions_same_bits;
  // Of the positions that differ, or of all if none does alone. Of rope these
  // are query heads; of scores channels are the positions attended to.
  IndexRanges heads_that_agree, heads_that_differ;
  IndexRanges kv_heads_that_agree, kv_heads_that_differ;
  IndexRanges channels_that_agree, channels_that_differ;
  // Of the same: ours times best_factor is nearest to theirs, and the cosine of
  // the two; none of zeros.
  std::optional<double> best_factor, cosine;
  size_t nonfinite = 0, ours_nonfinite = 0;  // elements
  // What explains all of the difference, beyond chance.
  std::optional<double> constant_factor;
  std::optional<ConstantVector> constant_vector;
  std::optional<RowFactors> row_factors;
  std::optional<ValueOrder> order;
  // Row p has the values of position p + this, or of the same op there.
  std::optional<int64_t> position_shift;
  std::optional<size_t> of_layer;
};

// Why a value is not finite.
enum class NonFiniteReason {
  kUnknown,
  kOverflow,      // the number is beyond the format's largest
  kIntermediate,  // the result is not, but what it is computed from is
  kInfMinusInf,
  kZeroByZero,
  kSeesNothing,  // a softmax over a row whose mask is -inf throughout
};

// The first values of one side that are not finite.
struct FirstNonFinite {
  Origin origin;
  IndexRanges positions, heads, channels;  // that have any
  size_t elements = 0, nan = 0;            // of these
  size_t of = 0;                           // elements that the op has
  NonFiniteReason reason = NonFiniteReason::kUnknown;
  // That the op's results are in, its largest number, and the largest magnitude
  // that the oracle's replay has where they are not finite: of an intermediate
  // result where that is the reason. NaN of nothing finite.
  Format format = Format::kF32;
  double largest = 0;
  std::optional<double> magnitude;
  // What a replay under the arithmetic found does: whether it is not finite at
  // the origin either, and in which op first.
  bool emulated = false;
  std::optional<size_t> emulated_layer;
  std::optional<Op> emulated_op;
};

// Of all values of the trace.
struct FiniteValues {
  size_t values = 0, finite = 0;
  size_t judged = 0;  // of points that are judged, and finite
};

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_DESCRIPTION_RESULTS_H_
