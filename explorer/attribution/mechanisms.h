#ifndef EXPLORER_ATTRIBUTION_MECHANISMS_H_
#define EXPLORER_ATTRIBUTION_MECHANISMS_H_

#include <cstddef>
#include <vector>

#include "explorer/attribution/error_sets.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/phenomena.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// How an error becomes as large as it is.
enum class MechanismKind {
  kKeyBias,       // biases make most of the largest keys
  kLargeScores,   // a score's spacing changes its softmax weight by a factor
  kMovedWeights,  // softmax weights that went to another position
  kSink,          // the same, away from where a head's weights mostly go
  kFlip,          // a massive activation that one of the runs has
  kNearTie,       // tokens that change, or nearly do
};

struct Mechanism {
  MechanismKind kind = MechanismKind::kLargeScores;
  size_t first_layer = 0, last_layer = 0;  // 0: the logits
  std::vector<size_t> heads;               // ascending, from 0
  std::vector<size_t> positions;           // ascending; of queries
  std::vector<size_t> channels;            // ascending
  // What is largest of it, signed: the bias, the score, the difference of a
  // weight, the mean weight of a sink, the activation, the margin of the
  // logits.
  double value = 0;
  // A factor of the mechanism: by which half of a spacing of the value changes
  // a weight; of a flip, what the other run has there by the value; of a near
  // tie, the error by the margin.
  double ratio = 0;
};

// Of the layers that the error comes from: the sets' `whole` or else the
// verdict's source, or all of them. Mechanisms of attention count if the error
// comes from attention's scores, or if nothing says where it comes from; what
// is lost between two runs, as flips and near ties, whatever it comes from.
// `sets` may be null.
std::vector<Mechanism> FindMechanisms(const Weights& weights,
                                      const Verdict& verdict,
                                      const ErrorSets* sets,
                                      const Phenomena& phenomena);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_MECHANISMS_H_
