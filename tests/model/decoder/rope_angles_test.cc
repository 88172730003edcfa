// RoPE's angles as transformers computes them, in f32 step by step.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/decoder/layer_ops.h"
#include "model/synthetic/synthetic.h"

namespace ulpscope {
namespace {

// The cosines and sines of a position: what a head of ones and zeros is rotated
// to.
std::vector<double> Rotated(const ModelConfig& config, bool angles_f32,
                            size_t position) {
  RopeOptions options;
  options.angles_f32 = angles_f32;
  RopeAngles angles(config, options);
  angles.Set(position, 1);
  const size_t half = static_cast<size_t>(config.head_dim) / 2;
  std::vector<double> head(2 * half);
  std::fill_n(head.begin(), half, 1);
  const auto oracle = FindStrategy("oracle", Kernel::kElementwise);
  EXPECT_TRUE(oracle.ok());
  angles.Rotate(*oracle, 0, {head.data(), 1, head.size()});
  return head;
}

// inv_freq = 1 / theta ** (arange(0, d, 2).float() / d), and the position's
// product with it, each rounded to f32.
double TransformersAngle(const ModelConfig& config, size_t i, size_t position) {
  const float exponent =
      static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
  const float power = static_cast<float>(std::pow(config.rope_theta, exponent));
  const float frequency = 1.0f / power;
  return static_cast<float>(position) * frequency;
}

TEST(RopeAnglesTest, InF32AreThoseOfTransformers) {
  for (const char* name : {"tiny", "tiny-qwen3", "seed", "seed-qwen3"}) {
    const ModelConfig config = *SyntheticConfig(name);
    const size_t half = static_cast<size_t>(config.head_dim) / 2;
    for (const size_t position : {0, 1, 2, 77, 4095, 32767, 99999, 100000}) {
      const std::vector<double> got = Rotated(config, true, position);
      for (size_t i = 0; i < half; ++i) {
        const double angle = TransformersAngle(config, i, position);
        // One rounding of a cosine, and its product with 1.
        EXPECT_NEAR(got[i], std::cos(angle), 4 * 0x1p-53)
            << name << " " << position << " " << i;
        EXPECT_NEAR(got[half + i], std::sin(angle), 4 * 0x1p-53)
            << name << " " << position << " " << i;
      }
    }
  }
}

// The largest distance of a rotation from the exact one, over channels.
double ErrorAt(const ModelConfig& config, size_t position) {
  const std::vector<double> exact = Rotated(config, false, position);
  const std::vector<double> f32 = Rotated(config, true, position);
  double largest = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    largest = std::max(largest, std::fabs(exact[i] - f32[i]));
  }
  return largest;
}

// Frequencies are off by the same everywhere and products are rounded relative
// to themselves, so the error grows with the position: at most by what the
// exponent, the power, its reciprocal and the product are rounded.
TEST(RopeAnglesTest, TheErrorGrowsWithThePosition) {
  const ModelConfig config = *SyntheticConfig("seed");
  // |d theta^x| = theta^x log(theta) |dx|, x < 1.
  const double relative =
      (std::log(config.rope_theta) + 3) * UnitRoundoff(Format::kF32);
  double before = 0;
  for (const size_t position : {10, 100, 1000, 10000, 100000}) {
    const double error = ErrorAt(config, position);
    EXPECT_GT(error, 3 * before) << position;
    EXPECT_LE(error, relative * static_cast<double>(position) * 1.01);
    before = error;
  }
  EXPECT_EQ(ErrorAt(config, 0), 0);
}

// rope_scaling is applied after the frequencies are rounded.
TEST(RopeAnglesTest, ScalingStays) {
  ModelConfig config = *SyntheticConfig("tiny");
  const std::vector<double> unscaled = Rotated(config, true, 16);
  config.rope_linear_factor = 4;
  const std::vector<double> scaled = Rotated(config, true, 64);
  // Division by a power of two rounds nothing.
  EXPECT_EQ(scaled, unscaled);
}

}  // namespace
}  // namespace ulpscope
