#ifndef EXPLORER_DIAGNOSIS_EVIDENCE_H_
#define EXPLORER_DIAGNOSIS_EVIDENCE_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// What the replay under a belief leaves of a point that it does not explain:
// where hypotheses take their numbers from. Theirs is T's value, ours the
// replay's.
struct PointEvidence {
  size_t point = 0;  // index into the trace's
  // By position, of those that the trace has of it: whether the row is farther
  // from theirs than rounding explains.
  std::vector<bool> differs;

  // Sums over all elements, of which a factor is between theirs and ours.
  struct Line {
    double theirs_squares = 0, product = 0, ours_squares = 0;

    double Factor() const { return product / ours_squares; }
    // 1 - the squared cosine: 0 where a factor is all that is between them.
    double Apart() const;
  };
  Line whole;
  Line without_bias;  // of both minus the op's bias; empty without one

  // Rows of ours, of the first layer whose rope is not explained, and of
  // logits.
  std::vector<double> ours;
  size_t rows = 0, cols = 0;
};

// In the order in which they run; none of points whose op is not computed.
using Evidence = std::vector<PointEvidence>;

// Of the points that `fit`, the belief's, leaves unexplained. A pass over the
// weights, unless all is explained. Cancelled if stopped.
absl::StatusOr<Evidence> EvidenceOf(const ReplaySetting& setting,
                                    const Weights& weights,
                                    const AlignedTrace& trace,
                                    const Belief& belief, const Fit& fit);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_EVIDENCE_H_
