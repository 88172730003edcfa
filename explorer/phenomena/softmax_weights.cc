#include "explorer/phenomena/softmax_weights.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "kernels/base/matrix.h"
#include "kernels/base/packed.h"

namespace ulpscope {

void SoftmaxWeights::AddReference(size_t layer, size_t position,
                                  Matrix<const double> weights) {
  waiting_[{layer, position}] = Packed(weights);
  for (size_t h = 0; h < weights.rows; ++h) {
    std::vector<std::pair<double, size_t>>& sums = sums_[{layer, h}];
    // A query's own key is no sink, which others look at.
    const size_t keys = std::min({weights.cols, position, kSinkPositions});
    if (sums.size() < keys) sums.resize(keys);
    for (size_t key = 0; key < keys; ++key) {
      sums[key].first += weights.Row(h)[key];
      ++sums[key].second;
    }
  }
}

void SoftmaxWeights::AddPlan(size_t layer, size_t position,
                             Matrix<const double> weights) {
  const auto reference = waiting_.find({layer, position});
  if (reference == waiting_.end()) return;
  const std::vector<double>& of_reference = reference->second;
  if (of_reference.size() == weights.rows * weights.cols) {
    for (size_t h = 0; h < weights.rows; ++h) {
      MovedWeight& most = moved_[{layer, h}];
      for (size_t key = 0; key < weights.cols; ++key) {
        const double other = of_reference[h * weights.cols + key];
        const double own = weights.Row(h)[key];
        const double moved = std::fabs(own - other);
        const double largest = std::fabs(most.plan - most.reference);
        // Of a NaN it is false, which hence counts, and the first one stays.
        if (moved <= largest || std::isnan(largest)) continue;
        most = {layer, h, position, key, other, own};
      }
    }
  }
  waiting_.erase(reference);
}

std::vector<MovedWeight> SoftmaxWeights::Moved() const {
  std::vector<MovedWeight> all;
  for (const auto& [head, moved] : moved_) {
    // So that a NaN is one.
    if (!(moved.plan == moved.reference)) all.push_back(moved);
  }
  return all;
}

std::vector<AttentionSink> SoftmaxWeights::Sinks() const {
  std::vector<AttentionSink> all;
  for (const auto& [head, sums] : sums_) {
    AttentionSink most = {head.first, head.second, 0, 0, 0};
    for (size_t key = 0; key < sums.size(); ++key) {
      if (sums[key].second < kLeastSinkQueries) continue;
      const double mean =
          sums[key].first / static_cast<double>(sums[key].second);
      if (!(mean > most.mean_weight)) continue;
      most.key_position = key;
      most.queries = sums[key].second;
      most.mean_weight = mean;
    }
    if (most.mean_weight >= kSinkWeight) all.push_back(most);
  }
  return all;
}

}  // namespace ulpscope
