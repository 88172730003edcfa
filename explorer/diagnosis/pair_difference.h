#ifndef EXPLORER_DIAGNOSIS_PAIR_DIFFERENCE_H_
#define EXPLORER_DIAGNOSIS_PAIR_DIFFERENCE_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

// How two traces, A and B, differ at a point.
struct PairDifference {
  size_t point = 0;  // TracePair's index
  // Positions, heads (of q, k, v, attention and its scores; of rope q's, then
  // k's) and channels (of scores, key positions) with other bits: how many, of
  // how many, and the first few.
  struct Places {
    size_t differing = 0, all = 0;
    std::vector<size_t> first;
  };
  Places positions, heads, channels;
  // Over the finite elements: the cosine of A and B, and the factor f for which
  // f A is nearest to B. None if one of the two is 0.
  std::optional<double> cosine, factor;
  // Where |A - B| is largest; where one is not finite, that comes first.
  size_t position = 0, channel = 0;
  std::optional<size_t> head;
  double value_a = 0, value_b = 0;
};

// How A and B differ at a point that both have; head_dim tells heads apart.
// Rows are matched by position.
PairDifference DescribeDifference(const TracedTensor& a, const TracedTensor& b,
                                  Op op, size_t head_dim);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_PAIR_DIFFERENCE_H_
