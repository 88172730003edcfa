#ifndef EXPLORER_PHENOMENA_LARGE_SCORES_H_
#define EXPLORER_PHENOMENA_LARGE_SCORES_H_

#include <cstddef>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"

namespace ulpscope {

// The largest score of an attention head, scaled, as softmax reads it. A
// score's error d changes its weight, e^score by their sum, by a factor of at
// most e^|d|, and a score's rounding error grows with the score: bf16 holds
// 1456 to 8.
struct LargeScore {
  size_t layer = 0;
  size_t head = 0;      // from 0
  size_t position = 0;  // of the query
  size_t key_position = 0;
  // The one with the largest magnitude, signed; of equal ones the first. A NaN
  // is larger than all.
  double score = 0;
  double weight = 0;  // its softmax weight
  // Of what holds scores between the product and the softmax under the plan.
  Format format = Format::kF32;

  // Of that format at the score; infinite where it overflows to infinity. None
  // of a score that is NaN or infinite by itself.
  std::optional<double> spacing() const;
  // By which factor a weight can be wrong if its score is by half a spacing, as
  // one rounding to nearest makes it, and by a whole one.
  std::optional<double> rounding_factor() const;
  std::optional<double> weight_factor() const;
};

// Gathers them from the outputs of kQk and kSoftmax of one run. What it keeps
// does not grow with the prompt. The softmax over a single score is 1 whatever
// that is: the first position does not count.
class LargeScores {
 public:
  // A row per head and a column per key (Observer::OnOutput); a position's
  // weights come after its scores.
  void AddScores(size_t layer, size_t position, Matrix<const double> scores);
  void AddWeights(size_t layer, size_t position, Matrix<const double> weights);

  // By layer and head; all in f32.
  std::vector<LargeScore> Found() const;

 private:
  std::map<std::pair<size_t, size_t>, LargeScore> largest_;  // by layer, head
};

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_LARGE_SCORES_H_
