#include "kernels/measure/error.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/measure/exact.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(SpacingTest, IsTheDistanceToTheNextNumber) {
  for (const float x : {1.0F, 1.5F, 3.0F, 1e-20F, 1e30F, 0x1p-126F, 0x1p-130F,
                        0.0F, 0x1.fffffep0F}) {
    const float next = std::nextafter(x, INFINITY);
    EXPECT_EQ(SpacingAt(Format::kF32, x), double{next} - double{x}) << x;
    EXPECT_EQ(SpacingAt(Format::kF32, -x), SpacingAt(Format::kF32, x));
  }
  for (const double x : {1.0, 0.1, 1e300, 1e-300, 0x1p-1022, 1e-320, 0.0}) {
    EXPECT_EQ(SpacingAt(Format::kF64, x), std::nextafter(x, kInfinity) - x);
  }
}

TEST(SpacingTest, OfBf16IsThatOfEightBits) {
  EXPECT_EQ(SpacingAt(Format::kBF16, 1.0), 0x1p-7);
  // The massive activations of the seed report.
  EXPECT_EQ(SpacingAt(Format::kBF16, 800.0), 4.0);
  EXPECT_EQ(SpacingAt(Format::kBF16, 1670.0), 8.0);
  EXPECT_EQ(SpacingAt(Format::kBF16, 0.0), 0x1p-133);
}

TEST(SpacingTest, OfF16IsThatOfElevenBits) {
  EXPECT_EQ(SpacingAt(Format::kF16, 1.0), 0x1p-10);
  EXPECT_EQ(SpacingAt(Format::kF16, 1670.0), 1.0);
  EXPECT_EQ(SpacingAt(Format::kF16, 65504.0), 32.0);
  EXPECT_EQ(SpacingAt(Format::kF16, 1e6), 32.0);
  EXPECT_EQ(SpacingAt(Format::kF16, 0x1p-14), 0x1p-24);
  EXPECT_EQ(SpacingAt(Format::kF16, 0x1p-20), 0x1p-24);
  EXPECT_EQ(SpacingAt(Format::kF16, 0.0), 0x1p-24);
}

TEST(SpacingTest, EdgesBelongToTheBinadeAbove) {
  EXPECT_EQ(SpacingAt(Format::kF32, 2.0), 0x1p-22);
  EXPECT_EQ(SpacingAt(Format::kF32, std::nextafter(2.0, 0.0)), 0x1p-23);
}

TEST(SpacingTest, IsThatOfTheLastBinadeBeyondTheRange) {
  EXPECT_EQ(SpacingAt(Format::kF32, 1e300), 0x1p104);
  EXPECT_EQ(SpacingAt(Format::kF32, kInfinity), 0x1p104);
  EXPECT_EQ(SpacingAt(Format::kF64, kInfinity), 0x1p971);
  EXPECT_EQ(SpacingAt(Format::kF32, 1e-300), 0x1p-149);
  EXPECT_TRUE(std::isnan(SpacingAt(Format::kF32, kNaN)));
}

TEST(UlpErrorTest, CountsSpacings) {
  EXPECT_EQ(UlpError(Format::kF32, 1.0, 1.0), 0.0);
  EXPECT_EQ(UlpError(Format::kF32, 1.0F + 0x1p-22F, 1.0), 2.0);
  EXPECT_EQ(UlpError(Format::kF32, -1.0F - 0x1p-22F, -1.0), 2.0);
  EXPECT_EQ(UlpError(Format::kF32, 1.0, 1.0 + 0x1p-25), 0.25);
  EXPECT_EQ(UlpError(Format::kF32, 0x1p-149F, 0.0), 1.0);
  EXPECT_EQ(UlpError(Format::kBF16, 804.0, 801.0), 0.75);
  EXPECT_EQ(UlpError(Format::kF16, 801.5, 801.0), 1.0);
  EXPECT_EQ(UlpError(Format::kF64, 1.0 + 0x1p-52, 1.0), 1.0);
  const double tiny = std::numeric_limits<double>::denorm_min();
  EXPECT_EQ(UlpError(Format::kF64, -tiny, 2.0 * tiny), 3.0);
  const double huge = std::numeric_limits<double>::max();
  EXPECT_EQ(UlpError(Format::kF64, -huge, huge), 0x1p54 - 2.0);
}

TEST(UlpErrorTest, CorrectRoundingIsWithinHalfASpacing) {
  ExactSum sum;
  for (int k = 1; k <= 1000; ++k) {
    sum.Add(1.0 / k);
    const double reference = sum.Round();
    EXPECT_LE(UlpError(Format::kF32, sum.RoundToFloat(), reference), 0.5);
    EXPECT_LE(UlpError(Format::kBF16, sum.RoundToBf16(), reference), 0.5);
  }
}

TEST(UlpErrorTest, NonFiniteIsEqualOrInfinitelyFar) {
  EXPECT_EQ(UlpError(Format::kF32, kInfinity, kInfinity), 0.0);
  EXPECT_EQ(UlpError(Format::kF32, kNaN, kNaN), 0.0);
  EXPECT_EQ(UlpError(Format::kF32, -kInfinity, kInfinity), kInfinity);
  EXPECT_EQ(UlpError(Format::kF32, kNaN, 1.0), kInfinity);
  EXPECT_EQ(UlpError(Format::kF32, 1.0, kNaN), kInfinity);
  EXPECT_EQ(UlpError(Format::kF32, kInfinity, 1.0), kInfinity);
}

TEST(ErrorInUTest, IsRelativeToTheSumOfMagnitudes) {
  EXPECT_EQ(ErrorInU(-0x1p-20, 4.0), 4.0);
  EXPECT_EQ(ErrorInU(0.0, 0.0), 0.0);
  EXPECT_EQ(ErrorInU(1.0, 0.0), kInfinity);
  EXPECT_TRUE(std::isnan(ErrorInU(kNaN, 1.0)));
}

TEST(GammaTest, IsHighamsFormula) {
  EXPECT_EQ(Gamma(0, 0x1p-24), 0.0);
  EXPECT_EQ(Gamma(0x1p23, 0x1p-24), 1.0);  // (1 / 2) / (1 / 2)
  EXPECT_EQ(Gamma(1, 0.25), 0.25 / 0.75);
  EXPECT_EQ(Gamma(0x1p24, 0x1p-24), kInfinity);
  EXPECT_EQ(Gamma(0x1p30, 0x1p-24), kInfinity);
  EXPECT_GT(Gamma(100, 0x1p-24), 100 * 0x1p-24);
}

TEST(QuantilesTest, AreNearestRanks) {
  std::vector<double> values;
  for (int i = 200; i >= 1; --i) values.push_back(i);
  const Quantiles quantiles = QuantilesOf(values);
  EXPECT_EQ(quantiles.p50, 100.0);
  EXPECT_EQ(quantiles.p99, 198.0);
  EXPECT_EQ(quantiles.max, 200.0);
  const Quantiles odd = QuantilesOf({3.0, 1.0, 2.0});
  EXPECT_EQ(odd.p50, 2.0);
  EXPECT_EQ(odd.p99, 3.0);
  values.assign(59, 0.0);
  values.push_back(1.0);
  EXPECT_EQ(QuantilesOf(values).p99, 1.0);  // rank 59.4 is the 60th
  const Quantiles one = QuantilesOf({7.0});
  EXPECT_EQ(one.p50, 7.0);
  EXPECT_EQ(one.max, 7.0);
}

TEST(QuantilesTest, NaNShowsAndNoValuesAreNoResult) {
  EXPECT_EQ(QuantilesOf({1.0, kNaN, 2.0}).max, kInfinity);
  EXPECT_EQ(QuantilesOf({kNaN, 1.0, 2.0}).p50, 2.0);
  EXPECT_TRUE(std::isnan(QuantilesOf({}).max));
}

}  // namespace
}  // namespace ulpscope
