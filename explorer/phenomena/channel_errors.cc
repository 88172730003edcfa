#include "explorer/phenomena/channel_errors.h"

#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <vector>

#include "absl/algorithm/container.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void ChannelErrors::Add(Matrix<const double> value,
                        Matrix<const double> reference) {
  sums_.resize(value.cols);
  squares_.resize(value.cols);
  positions_ += static_cast<double>(value.rows);
  for (size_t r = 0; r < value.rows; ++r) {
    for (size_t c = 0; c < value.cols; ++c) {
      const double error = value.Row(r)[c] - reference.Row(r)[c];
      sums_[c] += error;
      squares_[c] += error * error;
    }
  }
}

Concentration ChannelErrors::ConcentrationAt(size_t layer) const {
  Concentration result;
  result.layer = layer;
  result.channels = squares_.size();
  for (size_t c = 0; c < squares_.size(); ++c) {
    if (!std::isfinite(squares_[c])) {
      result.channel = c;
      result.top1 = result.top8 = kNaN;
      return result;
    }
  }
  std::vector<double> largest = squares_;
  absl::c_sort(largest, std::greater<double>());
  // Summed from the largest on, so that the shares are at most 1.
  double sum = 0, top8 = 0;
  for (size_t i = 0; i < largest.size(); ++i) {
    sum += largest[i];
    if (i < 8) top8 = sum;
  }
  if (sum == 0) return result;
  result.channel =
      static_cast<size_t>(absl::c_max_element(squares_) - squares_.begin());
  result.top1 = largest[0] / sum;
  result.top8 = top8 / sum;
  return result;
}

Bias ChannelErrors::BiasAt(size_t layer) const {
  Bias bias;
  bias.layer = layer;
  if (sums_.empty()) return bias;
  double sum = 0, squares = 0;
  for (size_t c = 0; c < sums_.size(); ++c) {
    sum += sums_[c];
    squares += squares_[c];
    if (sums_[c] > 0) ++bias.positive;
    if (sums_[c] < 0) ++bias.negative;
  }
  const double n = positions_ * static_cast<double>(sums_.size());
  bias.mean = sum / n;
  bias.rms = std::sqrt(squares / n);
  if (!std::isfinite(squares)) {
    bias.z = bias.z_signs = kNaN;
    return bias;
  }
  // Equal errors have no deviation, but rounding can leave one, or less than 0.
  const double variance = squares / n - bias.mean * bias.mean;
  const double deviation = variance > 0 ? std::sqrt(variance) : 0;
  bias.z = RatioOrZero(bias.mean, deviation / std::sqrt(n));
  const double up = static_cast<double>(bias.positive);
  const double down = static_cast<double>(bias.negative);
  bias.z_signs = RatioOrZero(up - down, std::sqrt(up + down));
  return bias;
}

}  // namespace ulpscope
