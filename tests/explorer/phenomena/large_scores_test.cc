#include "explorer/phenomena/large_scores.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "explorer/phenomena/phenomena.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

LargeScore ScoreOf(double score, Format format) {
  LargeScore s;
  s.score = score;
  s.format = format;
  return s;
}

Matrix<const double> Rows(const std::vector<double>& values, size_t rows) {
  return {values.data(), rows, values.size() / rows};
}

// Those that Qwen2.5-Coder-0.5B has in layers 1 and 5.
TEST(LargeScoreTest, SpacingsAreThoseOfTheFormat) {
  EXPECT_EQ(ScoreOf(1456, Format::kBF16).spacing(), 8);
  EXPECT_EQ(ScoreOf(-332, Format::kBF16).spacing(), 2);
  EXPECT_EQ(ScoreOf(1456, Format::kF16).spacing(), 1);
  EXPECT_EQ(ScoreOf(1456, Format::kF32).spacing(), 0x1p-13);
  EXPECT_EQ(ScoreOf(1456, Format::kF64).spacing(), 0x1p-42);
  EXPECT_EQ(ScoreOf(0, Format::kF16).spacing(), 0x1p-24);
}

TEST(LargeScoreTest, AWeightIsWrongByTheExponentialOfItsScoresError) {
  const LargeScore s = ScoreOf(1456, Format::kBF16);
  EXPECT_DOUBLE_EQ(s.rounding_factor().value(), std::exp(4));
  EXPECT_DOUBLE_EQ(s.weight_factor().value(), std::exp(8));
  // Two scores, of which one moves by a spacing: the weights' quotient is what
  // moves by that factor, and no weight moves by more.
  const double before = 1 / (1 + std::exp(-3.0));
  const double after = 1 / (1 + std::exp(-3.0 + 8));
  EXPECT_LT(before / after, *s.weight_factor());
  EXPECT_NEAR((1 - after) / after / ((1 - before) / before), *s.weight_factor(),
              1e-9 * *s.weight_factor());
}

TEST(LargeScoreTest, WhatOverflowsIsInfinitelyWrongAndANaNIsNot) {
  EXPECT_EQ(ScoreOf(65519, Format::kF16).spacing(), 32);
  EXPECT_EQ(ScoreOf(-65520, Format::kF16).spacing(), kInf);
  EXPECT_EQ(ScoreOf(65520, Format::kF16).weight_factor(), kInf);
  EXPECT_EQ(ScoreOf(65520, Format::kBF16).spacing(), 256);
  for (const double x : {kNaN, kInf, -kInf}) {
    const LargeScore s = ScoreOf(x, Format::kF16);
    EXPECT_EQ(s.spacing(), std::nullopt) << x;
    EXPECT_EQ(s.rounding_factor(), std::nullopt) << x;
    EXPECT_EQ(s.weight_factor(), std::nullopt) << x;
    EXPECT_FALSE(IsNamed(s)) << x;
  }
}

TEST(LargeScoreTest, NamedFromWhereASpacingMovesAHundredth) {
  EXPECT_FALSE(IsNamed(ScoreOf(1.99, Format::kBF16)));
  EXPECT_TRUE(IsNamed(ScoreOf(-2, Format::kBF16)));
  EXPECT_FALSE(IsNamed(ScoreOf(15.9, Format::kF16)));
  EXPECT_TRUE(IsNamed(ScoreOf(16, Format::kF16)));
  EXPECT_FALSE(IsNamed(ScoreOf(131071, Format::kF32)));
  EXPECT_TRUE(IsNamed(ScoreOf(131072, Format::kF32)));
  EXPECT_TRUE(IsNamed(ScoreOf(1e5, Format::kF16)));
}

TEST(LargeScoresTest, TheLargestMagnitudeOfEveryHead) {
  LargeScores scores;
  // One position's softmax is 1, however large its score is.
  scores.AddScores(1, 0, Rows({900, -900}, 2));
  scores.AddWeights(1, 0, Rows({1, 1}, 2));
  EXPECT_TRUE(scores.Found().empty());
  scores.AddScores(1, 1, Rows({3, -7, 2, 2}, 2));
  scores.AddWeights(1, 1, Rows({0.9, 0.1, 0.5, 0.5}, 2));
  scores.AddScores(2, 1, Rows({0, 0, 1, 0}, 2));
  scores.AddWeights(2, 1, Rows({0.5, 0.5, 0.75, 0.25}, 2));
  scores.AddScores(1, 2, Rows({1, 7, 2, -2, 1, 5}, 2));
  scores.AddWeights(1, 2, Rows({0.2, 0.3, 0.5, 0, 0.1, 0.8}, 2));
  const std::vector<LargeScore> found = scores.Found();
  ASSERT_EQ(found.size(), 4u);
  const auto is = [](const LargeScore& s, size_t layer, size_t head,
                     size_t position, size_t key, double score, double weight) {
    EXPECT_EQ(s.layer, layer);
    EXPECT_EQ(s.head, head);
    EXPECT_EQ(s.position, position);
    EXPECT_EQ(s.key_position, key);
    EXPECT_EQ(s.score, score);
    EXPECT_EQ(s.weight, weight);
  };
  is(found[0], 1, 0, 1, 1, -7, 0.1);  // of equal ones the first
  is(found[1], 1, 1, 2, 2, 5, 0.8);
  is(found[2], 2, 0, 1, 0, 0, 0.5);
  is(found[3], 2, 1, 1, 0, 1, 0.75);
}

TEST(LargeScoresTest, ANaNIsLargerThanAnInfinity) {
  LargeScores scores;
  scores.AddScores(1, 1, Rows({kNaN, 3, kInf, 3, 1, 2}, 3));
  scores.AddScores(1, 2, Rows({9, 9, 9, 9, kNaN, 9, 1, -kInf, kInf}, 3));
  scores.AddScores(1, 3, Rows({kInf, 1, 1, 1, 1, 1, 1, kInf, 1, 1, 1, 1}, 3));
  const std::vector<LargeScore> found = scores.Found();
  ASSERT_EQ(found.size(), 3u);
  EXPECT_TRUE(std::isnan(found[0].score));
  EXPECT_EQ(found[0].position, 1u);
  EXPECT_EQ(found[0].key_position, 0u);
  EXPECT_TRUE(std::isnan(found[1].score));
  EXPECT_EQ(found[1].position, 2u);
  EXPECT_EQ(found[1].key_position, 1u);
  EXPECT_EQ(found[2].score, -kInf);
  EXPECT_EQ(found[2].position, 2u);
}

}  // namespace
}  // namespace ulpscope
