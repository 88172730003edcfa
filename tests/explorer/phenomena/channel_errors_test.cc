#include "explorer/phenomena/channel_errors.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/random.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
// Chance gives |z| of 5 or more once in 1.7 million.
constexpr double kFarOutside = 5;

Matrix<const double> View(const std::vector<double>& values, size_t rows) {
  return {values.data(), rows, values.size() / rows};
}

// Of errors against 0.
ChannelErrors Of(const std::vector<double>& errors, size_t rows) {
  ChannelErrors result;
  const std::vector<double> zeros(errors.size());
  result.Add(View(errors, rows), View(zeros, rows));
  return result;
}

std::vector<double> Gaussians(size_t n, Random& random) {
  std::vector<double> values(n);
  for (double& v : values) v = random.Gaussian();
  return values;
}

TEST(ConcentrationTest, SharesAgreeWithFiguresWorkedByHand) {
  // Squares 1, 4 ... 100, their sum 385, in no order.
  const Concentration c =
      Of({3, -7, 1, 10, 5, -2, 9, 4, -6, 8}, 1).ConcentrationAt(17);
  EXPECT_EQ(c.layer, 17u);
  EXPECT_EQ(c.channels, 10u);
  EXPECT_EQ(c.channel, 3u);
  EXPECT_EQ(c.top1, 100.0 / 385);
  EXPECT_EQ(c.top8, 380.0 / 385);
}

TEST(ConcentrationTest, PositionsAddUpByChannel) {
  // Squares by channel: 9 + 16, 16 + 4, 1 + 0.
  const Concentration c = Of({3, 4, 1, -4, 2, 0}, 2).ConcentrationAt(1);
  EXPECT_EQ(c.channel, 0u);
  EXPECT_EQ(c.top1, 25.0 / 46);
  EXPECT_EQ(c.top8, 1);  // of three channels
}

TEST(ConcentrationTest, IsOfTheDifference) {
  ChannelErrors errors;
  const std::vector<double> value = {1000, 5, 7}, reference = {1000, 2, 8};
  errors.Add(View(value, 1), View(reference, 1));
  const Concentration c = errors.ConcentrationAt(1);
  EXPECT_EQ(c.channel, 1u);
  EXPECT_EQ(c.top1, 0.9);
}

TEST(ConcentrationTest, WithoutErrorThereIsNoShare) {
  const Concentration c = Of({0, 0, -0.0}, 1).ConcentrationAt(1);
  EXPECT_EQ(c.top1, 0);
  EXPECT_EQ(c.top8, 0);
  EXPECT_EQ(c.channel, 0u);
}

TEST(ConcentrationTest, OneChannelHasAll) {
  const Concentration c = Of({0.1, -0.3}, 2).ConcentrationAt(1);
  EXPECT_EQ(c.top1, 1);
  EXPECT_EQ(c.top8, 1);
}

TEST(ConcentrationTest, NoNumberIsNoShare) {
  for (const double bad : {kNaN, kInf, -kInf}) {
    const Concentration c = Of({9, 1, 1, 9, bad, 1}, 2).ConcentrationAt(1);
    EXPECT_TRUE(std::isnan(c.top1)) << bad;
    EXPECT_TRUE(std::isnan(c.top8)) << bad;
    EXPECT_EQ(c.channel, 1u) << bad;
  }
  EXPECT_EQ(Of({9, kInf, kNaN}, 1).ConcentrationAt(1).channel, 1u);
}

TEST(ChannelErrorsTest, PositionsMayComeInAnyCalls) {
  Random random(1);
  const std::vector<double> value = Gaussians(60, random);
  const std::vector<double> reference = Gaussians(60, random);
  ChannelErrors whole, parts;
  whole.Add(View(value, 6), View(reference, 6));
  parts.Add({value.data(), 2, 10}, {reference.data(), 2, 10});
  parts.Add({value.data() + 20, 4, 10}, {reference.data() + 20, 4, 10});
  EXPECT_EQ(whole.ConcentrationAt(1).top8, parts.ConcentrationAt(1).top8);
  EXPECT_EQ(whole.BiasAt(1).z, parts.BiasAt(1).z);
  EXPECT_EQ(whole.BiasAt(1).mean, parts.BiasAt(1).mean);
}

TEST(ChannelErrorsTest, RowsApartAreReadAsRows) {
  const std::vector<double> value = {1, kNaN, 3, kNaN}, reference = {0, 0};
  ChannelErrors errors;
  errors.Add({value.data(), 2, 1, 2}, View(reference, 2));
  EXPECT_EQ(errors.BiasAt(1).mean, 2);
}

TEST(BiasTest, AgreesWithFiguresWorkedByHand) {
  const Bias b = Of({1, 1, -1, 3}, 1).BiasAt(5);
  EXPECT_EQ(b.layer, 5u);
  EXPECT_EQ(b.mean, 1);
  EXPECT_DOUBLE_EQ(b.rms, std::sqrt(3));
  EXPECT_DOUBLE_EQ(b.z, std::sqrt(2));  // 1 / (sqrt(3 - 1) / sqrt(4))
  EXPECT_EQ(b.positive, 3u);
  EXPECT_EQ(b.negative, 1u);
  EXPECT_EQ(b.z_signs, 1);
}

TEST(BiasTest, SignsAreOfAChannelsMeanAndZerosHaveNone) {
  // Means by channel: 0, 1, -2, 0, -3.
  const Bias b = Of({5, 1, -5, 0, -6, -5, 1, 1, 0, 0}, 2).BiasAt(1);
  EXPECT_EQ(b.positive, 1u);
  EXPECT_EQ(b.negative, 2u);
  EXPECT_DOUBLE_EQ(b.z_signs, -1 / std::sqrt(3));
}

TEST(BiasTest, RoundingToNearestIsNotBiased) {
  Random random(2);
  const size_t rows = 50, cols = 400;
  const std::vector<double> exact = Gaussians(rows * cols, random);
  std::vector<double> rounded;
  for (const double x : exact) {
    rounded.push_back(static_cast<double>(static_cast<float>(x)));
  }
  ChannelErrors errors;
  errors.Add(View(rounded, rows), View(exact, rows));
  const Bias b = errors.BiasAt(1);
  EXPECT_GT(b.rms, 0);
  EXPECT_LT(std::fabs(b.z), kFarOutside);
  EXPECT_LT(std::fabs(b.z_signs), kFarOutside);
}

// The planted fault. Errors are in (-ulp, 0], and so are all channels' means.
TEST(BiasTest, RoundingDownIsBiased) {
  Random random(3);
  for (const size_t rows : {1, 50}) {
    const size_t cols = 400;
    const std::vector<double> exact = Gaussians(rows * cols, random);
    std::vector<double> rounded;
    for (const double x : exact) {
      const float nearest = static_cast<float>(x);
      const float down = static_cast<double>(nearest) > x
                             ? std::nextafter(nearest, -INFINITY)
                             : nearest;
      rounded.push_back(static_cast<double>(down));
    }
    ChannelErrors errors;
    errors.Add(View(rounded, rows), View(exact, rows));
    const Bias b = errors.BiasAt(1);
    EXPECT_LT(b.mean, 0);
    EXPECT_LT(b.z, -kFarOutside);
    EXPECT_EQ(b.positive, 0u);
    EXPECT_LT(b.z_signs, -kFarOutside);
  }
}

// A channel that errs by 1000 at each of 400 positions: z is sqrt(400), up to
// the other channels' 1/1000.
TEST(BiasTest, OneMassiveChannelIsOneVote) {
  Random random(4);
  const size_t rows = 400, cols = 256;
  std::vector<double> errors = Gaussians(rows * cols, random);
  for (size_t r = 0; r < rows; ++r) errors[r * cols + 62] = 1000;
  const Bias b = Of(errors, rows).BiasAt(1);
  EXPECT_NEAR(b.z, 20, 0.5);
  EXPECT_LT(std::fabs(b.z_signs), kFarOutside);
}

// All positions inherit the same error, say from what they read of position 0.
TEST(BiasTest, PositionsThatErrAlikeVoteOnce) {
  Random random(5);
  const std::vector<double> row = Gaussians(512, random);
  std::vector<double> errors;
  const size_t rows = 256;
  for (size_t r = 0; r < rows; ++r) {
    errors.insert(errors.end(), row.begin(), row.end());
  }
  const Bias one = Of(row, 1).BiasAt(1);
  const Bias all = Of(errors, rows).BiasAt(1);
  EXPECT_EQ(all.z_signs, one.z_signs);
  EXPECT_LT(std::fabs(all.z_signs), kFarOutside);
  // Sums of 512 and 512 x 256 terms, each within n 2^-53 of its terms' sizes.
  EXPECT_NEAR(all.z, 16 * one.z, 16 * 512 * 256 * 0x1p-53);
}

TEST(BiasTest, WithoutErrorThereIsNone) {
  const Bias b = Of({0, 0, 0, 0}, 2).BiasAt(1);
  EXPECT_EQ(b.mean, 0);
  EXPECT_EQ(b.rms, 0);
  EXPECT_EQ(b.z, 0);
  EXPECT_EQ(b.z_signs, 0);
}

TEST(BiasTest, EqualErrorsAreInfinitelyFarOutside) {
  EXPECT_EQ(Of({-0.25, -0.25, -0.25, -0.25}, 2).BiasAt(1).z, -kInf);
  // 0.1 is no binary fraction: rounding leaves the deviation some sqrt(2^-53)
  // of the mean, 1e-8, or nothing.
  EXPECT_GT(Of({0.1, 0.1, 0.1}, 1).BiasAt(1).z, 1e6);
  EXPECT_EQ(Of({3}, 1).BiasAt(1).z, kInf);
  EXPECT_EQ(Of({3}, 1).BiasAt(1).z_signs, 1);
}

TEST(BiasTest, NoNumberShowsInEveryFigure) {
  for (const double bad : {kNaN, kInf, -kInf}) {
    const Bias b = Of({1, 2, bad, 4}, 2).BiasAt(1);
    EXPECT_FALSE(std::isfinite(b.mean)) << bad;
    EXPECT_FALSE(std::isfinite(b.rms)) << bad;
    EXPECT_TRUE(std::isnan(b.z)) << bad;
    EXPECT_TRUE(std::isnan(b.z_signs)) << bad;
  }
}

}  // namespace
}  // namespace ulpscope
