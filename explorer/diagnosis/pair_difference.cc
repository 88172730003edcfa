#include "explorer/diagnosis/pair_difference.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "explorer/diagnosis/points.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// Of positions, heads and channels, so many are named.
constexpr size_t kNamed = 16;

bool HasHeads(Op op) {
  switch (op) {
    case Op::kQProj:
    case Op::kKProj:
    case Op::kVProj:
    case Op::kQNorm:
    case Op::kKNorm:
    case Op::kRope:
    case Op::kKvK:
    case Op::kKvV:
    case Op::kAv:
      return true;
    default:
      return false;
  }
}

PairDifference::Places PlacesOf(const std::vector<bool>& differs) {
  PairDifference::Places places;
  places.all = differs.size();
  for (size_t i = 0; i < differs.size(); ++i) {
    if (!differs[i]) continue;
    if (places.differing++ < kNamed) places.first.push_back(i);
  }
  return places;
}

}  // namespace

PairDifference DescribeDifference(const TracedTensor& a, const TracedTensor& b,
                                  Op op, size_t head_dim) {
  const Matrix<double> of_a = a.rows.view(), of_b = b.rows.view();
  const bool is_scores = IsScores(op);
  const size_t cols = of_a.cols;
  // Of scores, rows are heads x positions.
  const size_t all_positions = is_scores
                                   ? cols
                                   : std::min(a.first_position + of_a.rows,
                                              b.first_position + of_b.rows);
  const size_t first_position =
      is_scores ? 0 : std::max(a.first_position, b.first_position);
  const size_t rows = is_scores ? std::min(of_a.rows, of_b.rows)
                                : all_positions - first_position;
  const size_t heads = is_scores      ? rows / std::max<size_t>(1, cols)
                       : HasHeads(op) ? cols / std::max<size_t>(1, head_dim)
                                      : 0;
  std::vector<bool> positions(all_positions), of_heads(heads), channels(cols);
  PairDifference d;
  double aa = 0, ab = 0, bb = 0;
  double largest = -1;
  for (size_t r = 0; r < rows; ++r) {
    const size_t position = is_scores ? r % cols : first_position + r;
    const double* const x =
        of_a.Row(is_scores ? r : position - a.first_position);
    const double* const y =
        of_b.Row(is_scores ? r : position - b.first_position);
    for (size_t c = 0; c < cols; ++c) {
      // Before the softmax, what is behind the position has no meaning.
      if (op == Op::kQk && c > position) break;
      if (std::isfinite(x[c]) && std::isfinite(y[c])) {
        aa += x[c] * x[c];
        ab += x[c] * y[c];
        bb += y[c] * y[c];
      }
      if (x[c] == y[c] || (std::isnan(x[c]) && std::isnan(y[c]))) continue;
      const size_t head =
          is_scores ? r / cols : c / std::max<size_t>(1, head_dim);
      positions[position] = true;
      channels[c] = true;
      if (heads > 0) of_heads[head] = true;
      const double difference = std::fabs(x[c] - y[c]);
      const double size = std::isfinite(difference)
                              ? difference
                              : std::numeric_limits<double>::infinity();
      if (size <= largest) continue;
      largest = size;
      d.position = position;
      d.channel = c;
      if (heads > 0) d.head = head;
      d.value_a = x[c];
      d.value_b = y[c];
    }
  }
  d.positions = PlacesOf(positions);
  d.heads = PlacesOf(of_heads);
  d.channels = PlacesOf(channels);
  // Those that one of the two lacks do not count.
  d.positions.all -= first_position;
  if (aa > 0 && bb > 0) {
    d.cosine = ab / std::sqrt(aa) / std::sqrt(bb);
    d.factor = ab / aa;
  }
  return d;
}

}  // namespace ulpscope
