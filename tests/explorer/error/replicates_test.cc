#include "explorer/error/replicates.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(MeanOfTest, IsTheTextbooks) {
  const Mean mean = MeanOf({1, 2, 4, 9});
  EXPECT_EQ(mean.mean, 4);
  // s^2 = (9 + 4 + 0 + 25) / 3.
  EXPECT_DOUBLE_EQ(*mean.standard_error, std::sqrt(38.0 / 3 / 4));
  EXPECT_FALSE(MeanOf({7}).standard_error.has_value());
  EXPECT_TRUE(std::isnan(MeanOf({7, kNaN}).mean));
  EXPECT_TRUE(std::isnan(*MeanOf({7, kNaN}).standard_error));
}

TEST(WeightedMeanOfTest, IsARatioOfSums) {
  const Mean mean = WeightedMeanOf({1, 4}, {2, 1});
  EXPECT_EQ(mean.mean, 2);
  // Residuals 2 (1 - 2) and 1 (4 - 2): sqrt(8 * 2 / 1) / 3.
  EXPECT_DOUBLE_EQ(*mean.standard_error, 4.0 / 3);
}

// Two-sided 5 % points of the tables of Student's t.
TEST(StudentTwoSidedTest, AgreesWithTables) {
  const struct {
    int degrees;
    double t;
  } cases[] = {{1, 12.706},  {2, 4.3027},  {3, 3.1824},
               {4, 2.7764},  {5, 2.5706},  {9, 2.2622},
               {10, 2.2281}, {30, 2.0423}, {120, 1.9799}};
  for (const auto& c : cases) {
    EXPECT_NEAR(StudentTwoSided(c.t, c.degrees), 0.05, 5e-6) << c.degrees;
    EXPECT_NEAR(StudentReach(c.degrees), c.t, 5e-4) << c.degrees;
    EXPECT_EQ(StudentTwoSided(-c.t, c.degrees),
              StudentTwoSided(c.t, c.degrees));
  }
  // One degree is Cauchy's distribution.
  EXPECT_DOUBLE_EQ(StudentTwoSided(1, 1), 0.5);
  EXPECT_EQ(StudentTwoSided(0, 7), 1);
  EXPECT_TRUE(std::isnan(StudentTwoSided(kNaN, 7)));
}

TEST(DifferInMeanTest, ComparesPairs) {
  // The spread of the two is far larger than their difference, which is steady.
  const std::vector<double> a = {1, 10, 100, 1000};
  std::vector<double> b = a;
  const double steps[] = {0.5, 0.6, 0.5, 0.6};
  for (size_t i = 0; i < b.size(); ++i) b[i] += steps[i];
  EXPECT_EQ(DifferInMean(a, b), true);
  // Now it is not.
  EXPECT_EQ(DifferInMean(a, {1.5, 9, 101, 999}), false);
  EXPECT_EQ(DifferInMean(a, a), false);
  EXPECT_EQ(DifferInMean({1, 2}, {2, 3}), true);
  EXPECT_FALSE(DifferInMean({1}, {2}).has_value());
  EXPECT_FALSE(DifferInMean({1, kNaN}, {2, 3}).has_value());
}

}  // namespace
}  // namespace ulpscope
