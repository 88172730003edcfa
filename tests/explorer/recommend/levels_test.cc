#include "explorer/recommend/levels.h"

#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAre;

constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(LevelsTest, WhatIsSlowerAndLessAccurateIsNotSearched) {
  // Seconds, noise, error.
  EXPECT_THAT(WorthSearching({{0, 0, 1e-6}, {1, 0, 1e-5}, {-1, 0, 1e-3}}, 1),
              ElementsAre(0, 2));
  // The most accurate first.
  EXPECT_THAT(WorthSearching({{0, 0, 1e-3}, {1, 0, 1e-6}, {2, 0, 1e-9}}, 1),
              ElementsAre(2, 1, 0));
}

TEST(LevelsTest, OfWhatIsAsFastTheMoreAccurateIsLeft) {
  EXPECT_THAT(WorthSearching({{0, 0.1, 1e-6}, {-0.05, 0.1, 1e-3}}, 1),
              ElementsAre(0));
  // More than noise.
  EXPECT_THAT(WorthSearching({{0, 0.1, 1e-6}, {-0.2, 0.1, 1e-3}}, 1),
              ElementsAre(0, 1));
}

TEST(LevelsTest, OfWhatIsAsAccurateTheFasterIsLeft) {
  EXPECT_THAT(WorthSearching({{0, 0, 1.1e-6}, {9, 0, 1e-6}}, 0.8),
              ElementsAre(0));
  EXPECT_THAT(WorthSearching({{0, 0, 1.1e-6}, {9, 0, 1e-6}}, 1),
              ElementsAre(1, 0));
}

TEST(LevelsTest, OfEqualOnesTheFirstIsLeft) {
  EXPECT_THAT(WorthSearching({{0, 0, 1e-6}, {0, 0, 1e-6}, {0, 0, 1e-6}}, 0.8),
              ElementsAre(0));
}

TEST(LevelsTest, SomethingIsLeftWhereEachIsAsGoodAsTheNext) {
  // A circle: each makes the next one needless.
  const std::vector<WeighedLevel> circle = {
      {0, 1, 1.0}, {0.9, 1, 0.6}, {1.8, 1, 0.36}};
  EXPECT_FALSE(WorthSearching(circle, 0.5).empty());
  EXPECT_THAT(WorthSearching({{0, 0, kInf}, {1, 0, kInf}}, 0.8),
              ElementsAre(0));
  EXPECT_THAT(WorthSearching({{0, 0, kInf}, {1, 0, 1}}, 0.8),
              ElementsAre(1, 0));
}

TEST(LevelsTest, ErrorsAddUpAsSquares) {
  EXPECT_EQ(SizeOf(BudgetMetric::kRelL2, 3), 9);
  EXPECT_EQ(SizeOf(BudgetMetric::kLogitsRelL2, 3), 9);
  EXPECT_EQ(SizeOf(BudgetMetric::kKl, 3), 3);
}

}  // namespace
}  // namespace ulpscope
