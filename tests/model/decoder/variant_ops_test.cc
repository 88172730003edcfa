#include "model/decoder/variant_ops.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/variant.h"
#include "model/decoder/layer_ops.h"
#include "model/synthetic/synthetic.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/model/decoder/textbook_decoder.h"

namespace ulpscope {
namespace {

std::vector<double> RandomRow(size_t n, double size, Random& random) {
  std::vector<double> row(n);
  for (double& value : row) value = random.Uniform(-size, size);
  return row;
}

Strategy Named(const char* name, Kernel kernel) {
  return FindStrategy(name, kernel).value();
}

// bf16 operands, f32 steps, and one rounding at the end.
TEST(VariantNormTest, WeightBeforeTheCastRoundsOnce) {
  constexpr size_t kWidth = 100;
  Random random(3);
  Parallel parallel;
  const std::vector<double> x = RandomRow(kWidth, 2, random);
  const std::vector<double> weight = RandomRow(kWidth, 2, random);
  const double eps = 1e-6;
  for (const bool plus_one : {false, true}) {
    std::vector<double> w = Rounded(Format::kBF16, weight);
    for (double& value : w) value += plus_one ? 1 : 0;
    const std::vector<double> expected = Rounded(
        Format::kBF16, TextbookRmsNorm(*FindTextbook("f32"),
                                       Rounded(Format::kBF16, x), w, eps));
    Variant variant;
    variant.norm_weight_before_cast = true;
    variant.norm_weight_plus_one = plus_one;
    std::vector<double> got(kWidth);
    VariantNorm(Named("bf16", Kernel::kRmsNorm), variant,
                {{x.data(), 1, kWidth}}, weight, eps, {got.data(), 1, kWidth},
                parallel);
    EXPECT_TRUE(HasBits<double>(got, expected));
    variant.norm_weight_before_cast = false;
    VariantNorm(Named("bf16", Kernel::kRmsNorm), variant,
                {{x.data(), 1, kWidth}}, weight, eps, {got.data(), 1, kWidth},
                parallel);
    EXPECT_FALSE(HasBits<double>(got, expected));
  }
}

// Of any strategy, if not bit for bit what a PyTorch would do.
TEST(VariantNormTest, WeightBeforeTheCastTakesAllStrategies) {
  constexpr size_t kWidth = 64;
  Random random(6);
  Parallel parallel;
  const std::vector<double> x = RandomRow(kWidth, 2, random);
  const std::vector<double> weight = RandomRow(kWidth, 2, random);
  const std::vector<double> exact =
      TextbookRmsNorm(*FindTextbook("oracle"), x, weight, 0);
  Variant variant;
  variant.norm_weight_before_cast = true;
  for (size_t i = 0; i < Strategies().size(); ++i) {
    const Strategy strategy(i);
    if (!strategy.Takes(Kernel::kRmsNorm)) continue;
    std::vector<double> got(kWidth);
    VariantNorm(strategy, variant, {{x.data(), 1, kWidth}}, weight, 0,
                {got.data(), 1, kWidth}, parallel);
    // Both operands and the result are rounded; and there is the mean's root,
    // to which the operands' roundings contribute once more, and the sums of
    // f32, with eight steps' roundings.
    const double tolerance = Gamma(4, UnitRoundoff(strategy.info().operand)) +
                             Gamma(kWidth + 8, UnitRoundoff(Format::kF32));
    for (size_t j = 0; j < kWidth; ++j) {
      EXPECT_NEAR(got[j], exact[j], tolerance * std::abs(exact[j]))
          << strategy.name();
    }
  }
}

// Every step is rounded as SwiGlu's are.
TEST(VariantSwiGluTest, GeluRoundsOperandsActivationAndProduct) {
  constexpr size_t kWidth = 200;
  Random random(4);
  Parallel parallel;
  const std::vector<double> gate = RandomRow(kWidth, 6, random);
  const std::vector<double> up = RandomRow(kWidth, 6, random);
  const struct {
    const char* strategy;
    Format format;
  } rows[] = {
      {"f32", Format::kF32}, {"bf16", Format::kBF16}, {"oracle", Format::kF64}};
  for (const auto& row : rows) {
    const auto rounded = [&](double x) { return Rounded(row.format, x); };
    std::vector<double> expected;
    for (size_t i = 0; i < kWidth; ++i) {
      const double g = rounded(gate[i]);
      const double gelu = rounded(0.5 * g * (1 + std::erf(g * std::sqrt(0.5))));
      expected.push_back(rounded(gelu * rounded(up[i])));
    }
    Variant variant;
    variant.activation = Activation::kGelu;
    std::vector<double> got(kWidth);
    VariantSwiGlu(Named(row.strategy, Kernel::kElementwise), variant,
                  {gate.data(), 1, kWidth}, {up.data(), 1, kWidth},
                  {got.data(), 1, kWidth}, parallel);
    EXPECT_TRUE(HasBits<double>(got, expected)) << row.strategy;
  }
}

// The config's scaling stays when theta is another.
TEST(VariantRopeTest, ScalesTheFrequenciesOfItsTheta) {
  ModelConfig config = *SyntheticConfig("tiny");
  config.rope_linear_factor = 4;
  RopeOptions options;
  options.theta = 500;
  options.position_offset = -1;
  RopeAngles angles(config, options);
  constexpr size_t kPosition = 9;
  angles.Set(0, kPosition + 1);
  const size_t half = static_cast<size_t>(config.head_dim) / 2;
  std::vector<double> head(2 * half);
  std::fill_n(head.begin(), half, 1);
  angles.Rotate(Named("oracle", Kernel::kElementwise), kPosition,
                {head.data(), 1, head.size()});
  for (size_t i = 0; i < half; ++i) {
    const double angle =
        8.0 / 4 *
        std::pow(500, -static_cast<double>(i) / static_cast<double>(half));
    // The angle, at most 2, has three roundings; its cosine and the cosine's
    // product with 1 one each.
    const double tolerance = 8 * 0x1p-53;
    EXPECT_NEAR(head[i], std::cos(angle), tolerance);
    EXPECT_NEAR(head[half + i], std::sin(angle), tolerance);
  }
}

std::vector<double> InF16(std::vector<double> scores, const char* strategy) {
  SoftmaxInF16(Named(strategy, Kernel::kSoftmax),
               {scores.data(), 1, scores.size()});
  return scores;
}

TEST(SoftmaxInF16Test, RoundsEveryStep) {
  Random random(5);
  const std::vector<double> scores = RandomRow(300, 8, random);
  std::vector<double> expected = scores;
  double sum = 0;
  for (double& value : expected) {
    value = TextbookF16(std::exp(TextbookF16(value)));
    sum = TextbookF16(sum + value);
  }
  for (double& value : expected) value = TextbookF16(value / sum);
  EXPECT_TRUE(HasBits<double>(InF16(scores, "f32"), expected));
  EXPECT_TRUE(HasBits<double>(InF16(scores, "oracle"), expected));
  EXPECT_TRUE(
      HasBits<double>(InF16(scores, "bf16"), Rounded(Format::kBF16, expected)));
}

TEST(SoftmaxInF16Test, OverflowsBeyondLog65520) {
  // exp(11.0859375) = 65249 is finite in f16, exp(11.09375) = 65760 is not.
  EXPECT_EQ(InF16({11.0859375, 0}, "f32")[0], 1);
  const std::vector<double> overflown = InF16({11.09375, 0}, "f32");
  EXPECT_TRUE(std::isnan(overflown[0]));
  EXPECT_EQ(overflown[1], 0);
  // Only the sum overflows.
  EXPECT_THAT(InF16({11, 11}, "f32"), testing::Each(0));
}

}  // namespace
}  // namespace ulpscope
