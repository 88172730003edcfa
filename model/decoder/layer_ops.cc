#include "model/decoder/layer_ops.h"

#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/rmsnorm.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/rope.h"
#include "model/architecture/rounding.h"
#include "model/architecture/variant.h"

namespace ulpscope {

void NormRows(Strategy strategy, const NormInput& in,
              const std::vector<double>& weight, double eps, Matrix<double> y,
              Parallel& parallel) {
  const Matrix<const double> x = in.x;
  const size_t width = weight.size();
  const size_t heads = x.cols / width;
  RmsNormArgs args;
  args.weight = weight.data();
  args.eps = eps;
  if (heads == 1) {
    args.x = x;
    args.carry = in.carry;
    args.y = y;
    RmsNorm(strategy, args, parallel);
    return;
  }
  if (x.stride == x.cols && y.stride == y.cols) {
    args.x = {x.data, x.rows * heads, width};
    args.y = {y.data, y.rows * heads, width};
    RmsNorm(strategy, args, parallel);
    return;
  }
  for (size_t r = 0; r < x.rows; ++r) {
    args.x = {x.Row(r), heads, width};
    args.y = {y.Row(r), heads, width};
    RmsNorm(strategy, args, parallel);
  }
}

namespace {

// transformers computes 1 / theta^(2i / head_dim) in f32 step by step, of which
// the power is the largest error; what rope_scaling makes of it comes after.
void RoundLikeTransformers(const ModelConfig& config,
                           std::vector<double>& frequencies) {
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent =
        static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    const double unscaled =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) /
                                        static_cast<double>(config.head_dim));
    const float power = static_cast<float>(
        std::pow(config.rope_theta, static_cast<double>(exponent)));
    const double scaling = frequencies[i] / unscaled;
    frequencies[i] = static_cast<float>(scaling * (1.0f / power));
  }
}

}  // namespace

RopeAngles::RopeAngles(const ModelConfig& config, const RopeOptions& options)
    : options_(options) {
  ModelConfig with_theta = config;
  if (options.theta != 0) with_theta.rope_theta = options.theta;
  if (options.without_scaling) {
    with_theta.rope_linear_factor = 1;
    with_theta.llama3_rope_scaling.reset();
    with_theta.yarn_rope_scaling.reset();
    with_theta.rope_divisors.clear();
  }
  frequencies_ = RopeFrequencies(with_theta);
  if (!options.without_attention_factor) {
    attention_factor_ = RopeAttentionFactor(config);
  }
  if (options.angles_f32) RoundLikeTransformers(with_theta, frequencies_);
  if (options.rounding == RopeRounding::kFrequenciesBF16 ||
      options.rounding == RopeRounding::kAnglesBF16) {
    for (double& frequency : frequencies_) frequency = RoundedToBF16(frequency);
  }
}

void RopeAngles::Set(size_t first, size_t count) {
  const bool angles_rounded = options_.rounding == RopeRounding::kAnglesBF16;
  const bool cosines_rounded =
      angles_rounded || options_.rounding == RopeRounding::kCosinesBF16;
  const double offset = static_cast<double>(options_.position_offset);
  const size_t half = frequencies_.size();
  cos_.resize(count * half);
  sin_.resize(count * half);
  for (size_t r = 0; r < count; ++r) {
    double position =
        static_cast<double>(options_.positions.At(first + r)) + offset;
    if (options_.rounding == RopeRounding::kPositionsBF16) {
      position = RoundedToBF16(position);
    }
    for (size_t i = 0; i < half; ++i) {
      double angle = position * frequencies_[i];
      if (options_.angles_f32) angle = static_cast<float>(angle);
      if (angles_rounded) angle = RoundedToBF16(angle);
      double& cosine = cos_[r * half + i] = attention_factor_ * std::cos(angle);
      double& sine = sin_[r * half + i] = attention_factor_ * std::sin(angle);
      if (!cosines_rounded) continue;
      cosine = RoundedToBF16(cosine);
      sine = RoundedToBF16(sine);
    }
  }
}

void RopeAngles::Rotate(Strategy strategy, size_t i,
                        Matrix<double> heads) const {
  const size_t half = frequencies_.size();
  Rope(strategy, cos_.data() + i * half, sin_.data() + i * half, heads);
}

}  // namespace ulpscope
