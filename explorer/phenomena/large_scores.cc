#include "explorer/phenomena/large_scores.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/error.h"

namespace ulpscope {
namespace {

// Whether a finite number is rounded to infinity: half a spacing above the
// largest finite one, or more.
bool Overflows(Format format, double x) {
  if (format == Format::kF64) return false;
  const int exponent = format == Format::kF16 ? 15 : 127;
  return std::fabs(x) >= std::ldexp(2 - UnitRoundoff(format), exponent);
}

std::optional<double> FactorOf(const std::optional<double>& error) {
  return error.has_value() ? std::optional<double>(std::exp(*error)) : error;
}

}  // namespace

std::optional<double> LargeScore::spacing() const {
  if (!std::isfinite(score)) return std::nullopt;
  if (Overflows(format, score)) return std::numeric_limits<double>::infinity();
  return SpacingAt(format, score);
}

std::optional<double> LargeScore::rounding_factor() const {
  std::optional<double> error = spacing();
  if (error.has_value()) *error /= 2;
  return FactorOf(error);
}

std::optional<double> LargeScore::weight_factor() const {
  return FactorOf(spacing());
}

void LargeScores::AddScores(size_t layer, size_t position,
                            Matrix<const double> scores) {
  if (scores.cols < 2) return;
  for (size_t h = 0; h < scores.rows; ++h) {
    const auto [at, is_new] = largest_.try_emplace({layer, h});
    LargeScore& found = at->second;
    if (is_new) found = {layer, h, position, 0, scores.Row(h)[0]};
    for (size_t key = 0; key < scores.cols; ++key) {
      const double score = scores.Row(h)[key];
      if (std::isnan(found.score)) break;
      // Of a NaN it is false, which hence counts.
      if (std::fabs(score) <= std::fabs(found.score)) continue;
      found.position = position;
      found.key_position = key;
      found.score = score;
    }
  }
}

void LargeScores::AddWeights(size_t layer, size_t position,
                             Matrix<const double> weights) {
  if (weights.cols < 2) return;
  for (size_t h = 0; h < weights.rows; ++h) {
    const auto found = largest_.find({layer, h});
    if (found == largest_.end() || found->second.position != position) continue;
    found->second.weight = weights.Row(h)[found->second.key_position];
  }
}

std::vector<LargeScore> LargeScores::Found() const {
  std::vector<LargeScore> all;
  for (const auto& [at, score] : largest_) all.push_back(score);
  return all;
}

}  // namespace ulpscope
