#ifndef EXPLORER_DIAGNOSIS_TRACE_PAIR_H_
#define EXPLORER_DIAGNOSIS_TRACE_PAIR_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/pair_difference.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/run.h"
#include "model/architecture/op.h"
#include "model/checkpoint/checkpoint.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// Two traces of the same tokens against each other: A and B, of any programs
// and arithmetics. Compared are the points that both have. With A_in and B_in
// the values before a point, and L the oracle's replay from them,
//   A - B  =  (A - L(A_in))  -  (B - L(B_in))  +  (L(A_in) - L(B_in))
//             what A adds       what B adds       what is inherited

// Where the difference of a point comes from.
enum class PairOrigin {
  kSame,       // there is none: all bits are equal
  kRounding,   // what both add is what their arithmetics explain, and more than
               // what is inherited
  kInherited,  // the same, but less than that
  kAddedByA,   // A adds more than its arithmetic explains
  kAddedByB,
  kAddedByBoth,
  kNotJudged,  // not finite, behind others that are not
};

struct PairPoint {
  size_t layer = 0;
  Op op = Op::kEmbed;
  std::string name_a, name_b;      // of the tensors
  std::string stored_a, stored_b;  // "BF16"
  size_t elements = 0;             // that both have
  size_t identical = 0;            // with the same bits
  // Elements that are infinite or NaN in A, in B, and in one of the two, or in
  // both but not the same.
  size_t nonfinite_a = 0, nonfinite_b = 0, nonfinite_differ = 0;
  // Elements that the norms below are over: all that are finite in A, in B and
  // in the oracle's replays. Relative to A's norm; none without such elements.
  size_t compared = 0;
  std::optional<double> distance, added_a, added_b, inherited;
  // Of each trace alone, replayed under its arithmetic: its distance by what is
  // allowed (PointFit); above 1 it adds something.
  double excess_a = 0, excess_b = 0;
  PairOrigin origin = PairOrigin::kSame;

  bool is_added() const {
    return origin == PairOrigin::kAddedByA || origin == PairOrigin::kAddedByB ||
           origin == PairOrigin::kAddedByBoth;
  }
};

// A state of the stream: L2 distances over the elements that are finite in both
// traces and in the oracle's run from the tokens, by the oracle's norm; none if
// there are none.
struct PairState {
  size_t layer = 0;     // 0 is the embedding
  bool normed = false;  // after the final norm
  size_t compared = 0;  // elements
  size_t elements = 0;  // that both have
  std::optional<double> a_to_oracle, b_to_oracle, a_to_b;

  // 1: A is nearer to the oracle, -1: B; 0 if neither.
  int nearer() const {
    if (!a_to_oracle || !b_to_oracle) return 0;
    return *a_to_oracle < *b_to_oracle   ? 1
           : *b_to_oracle < *a_to_oracle ? -1
                                         : 0;
  }
};

struct TracePair {
  std::string path_a, path_b;
  std::vector<int32_t> tokens;
  size_t num_layers = 0;
  std::vector<ReferenceTrace::NotMeasured> not_measured_a, not_measured_b;
  Alignment alignment_a, alignment_b;
  Arithmetic arithmetic_a, arithmetic_b;  // of the points that both have
  size_t only_in_a = 0, only_in_b = 0;    // points that are left out
  std::vector<PairPoint> points;          // in the order in which they run
  // Indices of the first point whose bits differ, and of the first at which one
  // of the two adds more than its arithmetic explains.
  std::optional<size_t> first_different, first_added;
  std::optional<size_t> first_nonfinite_a, first_nonfinite_b;
  // At first_added, or else at first_different.
  std::optional<PairDifference> difference;
  std::vector<PairState> states;
  // Which of the two is at most half as far from the oracle at most states
  // after a layer: 1: A, -1: B; 0 if neither.
  int nearer_to_oracle = 0;
  std::string stopped_in;  // the part that was not finished, or empty

  bool differs() const { return first_added.has_value(); }
};

// Both are of the same tokens, or it is InvalidArgument. `on_stage`, unless
// null, gets what there is after each part.
absl::StatusOr<TracePair> ComparePair(
    const Run& run, const Checkpoint& checkpoint, const ReferenceTrace& a,
    const ReferenceTrace& b,
    const std::function<void(const TracePair&)>& on_stage = nullptr);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_TRACE_PAIR_H_
