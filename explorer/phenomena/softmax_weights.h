#ifndef EXPLORER_PHENOMENA_SOFTMAX_WEIGHTS_H_
#define EXPLORER_PHENOMENA_SOFTMAX_WEIGHTS_H_

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "kernels/base/matrix.h"

namespace ulpscope {

// The softmax weight of a head that differs most between two runs.
struct MovedWeight {
  size_t layer = 0;
  size_t head = 0;      // from 0
  size_t position = 0;  // of the query
  size_t key_position = 0;
  // In the reference's run and in the plan's. A NaN is further than all.
  double reference = 0, plan = 0;
};

// A head whose weights go to one position whatever the query is (Xiao et al.
// 2023, "Efficient Streaming Language Models with Attention Sinks").
struct AttentionSink {
  size_t layer = 0;
  size_t head = 0;  // from 0
  size_t key_position = 0;
  size_t queries = 0;      // the positions behind it
  double mean_weight = 0;  // over these
};

// Positions that can be a sink: the first ones, which all queries see. So what
// is kept of them does not grow with the prompt.
inline constexpr size_t kSinkPositions = 64;
// A mean over less says little, and half of the weight is a majority.
inline constexpr size_t kLeastSinkQueries = 4;
inline constexpr double kSinkWeight = 0.5;

// Gathers them from the outputs of kSoftmax of two runs, a row per head and a
// column per key (Observer::OnOutput). The reference's weights of a layer and
// position come before the plan's, and are kept until then.
class SoftmaxWeights {
 public:
  void AddReference(size_t layer, size_t position,
                    Matrix<const double> weights);
  void AddPlan(size_t layer, size_t position, Matrix<const double> weights);

  // By layer and head, those with any difference.
  std::vector<MovedWeight> Moved() const;
  // By layer and head, of each the position with the largest mean, if that is
  // at least kSinkWeight.
  std::vector<AttentionSink> Sinks() const;

 private:
  using Head = std::pair<size_t, size_t>;  // layer, head

  // By layer and position, [heads, keys].
  std::map<std::pair<size_t, size_t>, std::vector<double>> waiting_;
  std::map<Head, MovedWeight> moved_;
  // [keys]: sums over the queries behind each, and how many these are.
  std::map<Head, std::vector<std::pair<double, size_t>>> sums_;
};

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_SOFTMAX_WEIGHTS_H_
