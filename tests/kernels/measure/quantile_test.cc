#include "kernels/measure/quantile.h"

#include <vector>

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

TEST(QuantileTest, IsLinearBetweenOrderStatistics) {
  const std::vector<double> four = {8, 1, 4, 2};
  EXPECT_EQ(Quantile(four, 0), 1);
  EXPECT_EQ(Quantile(four, 0.25), 1.75);  // at 0.75 of 0..3
  EXPECT_EQ(Quantile(four, 0.5), 3);
  EXPECT_EQ(Quantile(four, 0.75), 5);  // at 2.25
  EXPECT_EQ(Quantile(four, 1), 8);
}

TEST(QuantileTest, IsTheMiddleOfAnOddNumber) {
  EXPECT_EQ(Quantile({7, 3, 5}, 0.5), 5);
  EXPECT_EQ(Quantile({7}, 0.5), 7);
  EXPECT_EQ(Quantile({7}, 0.9), 7);
}

}  // namespace
}  // namespace ulpscope
