#include "explorer/error/massive.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

bool RowIsMassive(const std::vector<double>& row) {
  return IsMassive(absl::MakeConstSpan(row));
}

TEST(IsMassiveTest, NeedsMoreThanTheMagnitude) {
  EXPECT_FALSE(RowIsMassive({1e-3, 1e-3, 1e-3, 1e-3, kMassiveMagnitude}));
  EXPECT_TRUE(RowIsMassive(
      {1e-3, 1e-3, 1e-3, 1e-3, std::nextafter(kMassiveMagnitude, 1e9)}));
}

TEST(IsMassiveTest, NeedsTheRatioToTheMedian) {
  EXPECT_FALSE(
      RowIsMassive({2, 2, 2, 2, std::nextafter(2 * kMassiveRatio, 0.0)}));
  EXPECT_TRUE(RowIsMassive({2, -2, -2, 2, -2 * kMassiveRatio}));
}

TEST(IsMassiveTest, MedianOfAnEvenCountIsTheLower) {
  EXPECT_TRUE(RowIsMassive({1, 4, 1, 150}));
  EXPECT_EQ(MedianMagnitude({1, 4, -1, 150}), 1);
  EXPECT_EQ(MedianMagnitude({-3}), 3);
}

TEST(IsMassiveTest, NaNIsNotMassiveButLargeInTheMedian) {
  EXPECT_FALSE(RowIsMassive({1, 1, 1, 1, kNaN}));
  EXPECT_TRUE(RowIsMassive({1, 1, 1, 150, kNaN}));
  // With the NaN at the bottom the median would be 1.
  EXPECT_FALSE(RowIsMassive({1, 1, 150, kNaN, 2, 2}));
  EXPECT_FALSE(RowIsMassive({1, 1e9, kNaN, kNaN, kNaN}));
}

TEST(IsMassiveTest, InfinityIsMassiveWhereTheMedianIsNot) {
  EXPECT_TRUE(RowIsMassive({1, 1, 1, 1, -kInf}));
  EXPECT_FALSE(RowIsMassive({kInf, kInf, kInf}));
}

TEST(IsMassiveTest, NothingIsMassiveInZeros) {
  EXPECT_FALSE(RowIsMassive({0, 0, 0, 0}));
  EXPECT_FALSE(RowIsMassive({0, 0, 0, 99}));
  EXPECT_TRUE(RowIsMassive({0, 0, 0, 101}));
}

TEST(IsMassiveTest, ThresholdsAreScaled) {
  EXPECT_TRUE(IsMassive(51, 0.5, 0.5));
  EXPECT_FALSE(IsMassive(49, 0.5, 0.5));
  EXPECT_FALSE(IsMassive(51, 0.5, 1));
}

}  // namespace
}  // namespace ulpscope
