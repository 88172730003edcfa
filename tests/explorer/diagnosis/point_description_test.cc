// What is said of a point: what was planted, with the noise of rounding, and
// nothing where nothing was.

#include "explorer/diagnosis/point_description.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/value_order.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/measure/random.h"
#include "model/architecture/rounding.h"
#include "tests/explorer/diagnosis/made_values.h"

namespace ulpscope {
namespace {

constexpr double kF32 = 0x1p-24;
constexpr double kBF16 = 0x1p-8;

std::string Text(const IndexRanges& ranges) {
  std::string text;
  for (const IndexRange& range : ranges) {
    text +=
        std::to_string(range.first) + "-" + std::to_string(range.last) + " ";
  }
  return text;
}

PointDescription Described(const ComparedValues& values,
                           const DescriptionContext& context = {}) {
  return DescribeValues(values, context);
}

void ExpectNothingSaid(const PointDescription& d) {
  EXPECT_FALSE(d.constant_factor.has_value());
  EXPECT_FALSE(d.constant_vector.has_value());
  EXPECT_FALSE(d.row_factors.has_value());
  EXPECT_FALSE(d.order.has_value());
  EXPECT_FALSE(d.position_shift.has_value());
  EXPECT_FALSE(d.of_layer.has_value());
}

TEST(RangesTest, AreOfNeighbours) {
  EXPECT_EQ(Text(RangesOf({true, true, false, true})), "0-1 3-3 ");
  EXPECT_EQ(Text(RangesOf({false, true}, 7)), "8-8 ");
  EXPECT_EQ(Text(RangesOf({})), "");
}

TEST(PointDescriptionTest, CorrectProgramsAgree) {
  Random random(1);
  for (const double unit : {kF32, kBF16}) {
    for (int i = 0; i < 50; ++i) {
      const ComparedValues v = MadeValues(8, 64, unit, random);
      const PointDescription d = Described(v);
      EXPECT_EQ(Text(d.positions_that_agree), "0-7 ");
      EXPECT_EQ(Text(d.positions_that_differ), "");
      ExpectNothingSaid(d);
      EXPECT_NEAR(*d.best_factor, 1, unit);
    }
  }
}

// What has nothing to do with ours is told as such, however few values there
// are and however coarse the rounding.
TEST(PointDescriptionTest, UnrelatedValuesHaveNoProperty) {
  Random random(2);
  for (const double unit : {kF32, kBF16}) {
    for (const size_t rows : {size_t{1}, size_t{2}, size_t{7}}) {
      for (const size_t cols : {size_t{2}, size_t{4}, size_t{48}}) {
        for (int i = 0; i < 40; ++i) {
          ComparedValues v = MadeValues(rows, cols, unit, random);
          for (double& x : v.theirs) x = random.Gaussian();
          v.query_heads = 2;
          v.head_dim = cols / 2;
          std::vector<double> bias(cols);
          for (double& x : bias) x = random.Gaussian();
          DescriptionContext context;
          context.vectors = {{"bias", &bias}};
          ExpectNothingSaid(Described(v, context));
        }
      }
    }
  }
}

TEST(PointDescriptionTest, PositionsHeadsAndChannelsThatDiffer) {
  Random random(3);
  ComparedValues v = MadeValues(12, 64, kBF16, random);
  v.query_heads = 4;
  v.head_dim = 16;
  v.first_position = 2;
  for (size_t r = 6; r < 12; ++r) {
    for (size_t c = 20; c < 30; ++c) v.theirs[v.At(r, c)] = random.Gaussian();
  }
  const PointDescription d = Described(v);
  EXPECT_EQ(Text(d.positions_that_agree), "2-7 ");
  EXPECT_EQ(Text(d.positions_that_differ), "8-13 ");
  EXPECT_EQ(Text(d.heads_that_agree), "0-0 2-3 ");
  EXPECT_EQ(Text(d.heads_that_differ), "1-1 ");
  EXPECT_EQ(Text(d.channels_that_differ), "20-29 ");
  EXPECT_EQ(Text(d.channels_that_agree), "0-19 30-63 ");
  ExpectNothingSaid(d);
}

// A massive activation does not hide what the others of its row are.
TEST(PointDescriptionTest, WhatStandsOutHidesNothing) {
  Random random(4);
  ComparedValues v = MadeValues(4, 64, kBF16, random);
  v.outstanding.resize(v.theirs.size());
  for (size_t r = 0; r < 4; ++r) {
    const size_t at = v.At(r, 5);
    v.outstanding[at] = true;
    v.theirs[at] *= 1e5;
    v.ours[at] = v.exact[at] = v.theirs[at];
    v.noise[at] = kBF16 * kBF16 * v.ours[at] * v.ours[at] / 3;
  }
  for (size_t c = 10; c < 20; ++c) v.theirs[v.At(2, c)] += 1;
  EXPECT_EQ(Text(Described(v).positions_that_differ), "2-2 ");
}

TEST(PointDescriptionTest, ScoresAreOfHeadsAndPositions) {
  Random random(5);
  ComparedValues v = MadeValues(3 * 6, 6, kF32, random);
  v.score_heads = 3;
  v.without_meaning.resize(v.theirs.size());
  for (size_t r = 0; r < v.rows; ++r) {
    for (size_t c = v.PositionOfRow(r) + 1; c < 6; ++c) {
      v.without_meaning[v.At(r, c)] = true;
      v.theirs[v.At(r, c)] = std::numeric_limits<double>::infinity();
    }
  }
  for (size_t c = 0; c < 3; ++c) v.theirs[v.At(6 + 4, c)] += 1;  // head 1
  const PointDescription d = Described(v);
  EXPECT_EQ(Text(d.positions_that_differ), "4-4 ");
  EXPECT_EQ(Text(d.heads_that_differ), "1-1 ");
  EXPECT_EQ(Text(d.channels_that_differ), "0-2 ");
  EXPECT_EQ(d.nonfinite, 0u);
}

TEST(PointDescriptionTest, AConstantFactorIsFoundAsWritten) {
  Random random(6);
  for (const double factor : {224.0, 0.125, -1.0, 1.5, 0.0078125}) {
    for (const double unit : {kF32, kBF16}) {
      ComparedValues v = MadeValues(5, 96, unit, random);
      for (double& x : v.theirs) x *= factor;
      const PointDescription d = Described(v);
      ASSERT_TRUE(d.constant_factor.has_value()) << factor;
      // By what is allowed of 480 elements: 2 (1 + 6 sqrt(2 / nu)) u / sqrt(3).
      EXPECT_NEAR(*d.constant_factor / factor, 1, 3 * unit);
      if (unit == kF32) {
        EXPECT_EQ(*d.constant_factor, factor);
      }
      EXPECT_NEAR(*d.cosine, factor < 0 ? -1 : 1, unit);
      EXPECT_FALSE(d.row_factors.has_value());
    }
  }
}

TEST(PointDescriptionTest, ABiasIsNamedWithItsSign) {
  Random random(7);
  std::vector<double> right(64), wrong(64);
  for (double& x : right) x = random.Gaussian();
  for (double& x : wrong) x = random.Gaussian();
  DescriptionContext context;
  context.vectors = {{"wrong", &wrong}, {"right", &right}};
  for (const int sign : {-1, 1}) {
    for (const size_t rows : {size_t{1}, size_t{5}}) {
      ComparedValues v = MadeValues(rows, 64, kBF16, random);
      for (size_t i = 0; i < v.theirs.size(); ++i) {
        v.theirs[i] += sign * right[i % 64];
      }
      const PointDescription d = Described(v, context);
      ASSERT_TRUE(d.constant_vector.has_value());
      EXPECT_EQ(d.constant_vector->tensor, "right");
      EXPECT_EQ(d.constant_vector->sign, sign);
    }
  }
  // Of no tensor, which takes two rows; and not where the rows are the same.
  ComparedValues v = MadeValues(4, 64, kF32, random);
  for (size_t i = 0; i < v.theirs.size(); ++i) v.theirs[i] += right[i % 64];
  const PointDescription d = Described(v);
  ASSERT_TRUE(d.constant_vector.has_value());
  EXPECT_EQ(d.constant_vector->tensor, "");
  ComparedValues same = MadeValues(1, 64, kF32, random);
  same.rows = 2;
  for (auto* values : {&same.theirs, &same.ours, &same.exact, &same.noise}) {
    const std::vector<double> row = *values;
    values->insert(values->end(), row.begin(), row.end());
  }
  for (size_t i = 0; i < 128; ++i) same.theirs[i] += right[i % 64];
  EXPECT_FALSE(Described(same).constant_vector.has_value());
}

TEST(PointDescriptionTest, OneFactorPerRow) {
  Random random(8);
  for (const double unit : {kF32, kBF16}) {
    ComparedValues v = MadeValues(6, 64, unit, random);
    for (size_t r = 0; r < 6; ++r) {
      for (size_t c = 0; c < 64; ++c) {
        v.theirs[v.At(r, c)] *= 2 + static_cast<double>(r);
      }
    }
    PointDescription d = Described(v);
    ASSERT_TRUE(d.row_factors.has_value());
    EXPECT_EQ(d.row_factors->rows, 6u);
    EXPECT_NEAR(d.row_factors->least, 2, 4 * unit);
    EXPECT_NEAR(d.row_factors->largest, 7, 14 * unit);
    EXPECT_FALSE(d.constant_factor.has_value());
    v.theirs[v.At(2, 3)] += 1;
    EXPECT_FALSE(Described(v).row_factors.has_value());
  }
}

// ours, brought in an order.
void Reorder(const std::vector<size_t>& order, size_t begin,
             ComparedValues& v) {
  for (size_t r = 0; r < v.rows; ++r) {
    for (size_t c = 0; c < order.size(); ++c) {
      const size_t at = v.At(r, begin + order[c]);
      v.theirs[v.At(r, begin + c)] = v.ours[at] * (1 + 1e-8);
    }
  }
}

TEST(ValueOrderTest, OrdersOfHeadsAreNamed) {
  Random random(9);
  for (const double unit : {kF32, kBF16}) {
    for (const OrderKind kind :
         {OrderKind::kNeighbours, OrderKind::kHalves, OrderKind::kHalvesSwapped,
          OrderKind::kReversed, OrderKind::kTransposedHeads}) {
      for (const size_t heads : {size_t{4}, size_t{2}}) {
        ComparedValues v = MadeValues(5, 64, unit, random);
        v.query_heads = 4;
        v.head_dim = 16;
        Reorder(OrderOfChannels(kind, 64, heads), 0, v);
        DescriptionContext context;
        context.is_query_or_key = true;
        const PointDescription d = Described(v, context);
        ASSERT_TRUE(d.order.has_value()) << static_cast<int>(kind);
        // Two heads that are transposed are one head's halves as neighbours.
        EXPECT_EQ(OrderOfChannels(d.order->kind, 64, d.order->heads),
                  OrderOfChannels(kind, 64, heads));
        if (heads == 4) {
          EXPECT_EQ(d.order->kind, kind);
        }
        EXPECT_EQ(d.order->right_heads, heads == 4);
        EXPECT_EQ(d.order->consistent_with_neighbours,
                  kind == OrderKind::kNeighbours && heads == 4);
      }
    }
  }
}

// Of two names of one order, the one of the tensor's own heads.
TEST(ValueOrderTest, TheRightHeadsComeFirst) {
  Random random(15);
  ComparedValues v = MadeValues(5, 64, kF32, random);
  v.query_heads = 2;
  v.head_dim = 32;
  Reorder(OrderOfChannels(OrderKind::kTransposedHeads, 64, 2), 0, v);
  const PointDescription d = Described(v);
  ASSERT_TRUE(d.order.has_value());
  EXPECT_EQ(d.order->kind, OrderKind::kTransposedHeads);
  EXPECT_TRUE(d.order->right_heads);
}

TEST(ValueOrderTest, HalvesAndNeighboursAreInverse) {
  const auto there = OrderOfChannels(OrderKind::kNeighbours, 24, 3);
  const auto back = OrderOfChannels(OrderKind::kHalves, 24, 3);
  for (size_t c = 0; c < 24; ++c) EXPECT_EQ(back[there[c]], c);
  // Channels 0 and 4 of a head of 8 come first.
  EXPECT_EQ(there[8], 8u);
  EXPECT_EQ(there[9], 12u);
  EXPECT_TRUE(OrderOfChannels(OrderKind::kHalves, 24, 5).empty());
}

TEST(ValueOrderTest, AnyOtherOrderIsFound) {
  Random random(10);
  for (const double unit : {kF32, kBF16}) {
    ComparedValues v = MadeValues(6, 64, unit, random);
    v.kv_heads = 4;
    v.head_dim = 16;
    std::vector<size_t> order(64);
    std::iota(order.begin(), order.end(), size_t{0});
    std::rotate(order.begin(), order.begin() + 32, order.end());
    std::swap_ranges(order.begin(), order.begin() + 16, order.begin() + 16);
    Reorder(order, 0, v);
    PointDescription d = Described(v);
    ASSERT_TRUE(d.order.has_value());
    EXPECT_EQ(d.order->kind, OrderKind::kHeads);
    for (size_t i = 63; i > 0; --i) {
      std::swap(order[i], order[random.Below(i + 1)]);
    }
    Reorder(order, 0, v);
    d = Described(v);
    ASSERT_TRUE(d.order.has_value());
    EXPECT_EQ(d.order->kind, OrderKind::kOther);
  }
}

TEST(ValueOrderTest, QueriesAndKeysOfRopeAreApart) {
  Random random(11);
  ComparedValues v = MadeValues(5, 96, kF32, random);
  v.query_heads = 4;
  v.kv_heads = 2;
  v.head_dim = 16;
  Reorder(OrderOfChannels(OrderKind::kNeighbours, 64, 4), 0, v);
  Reorder(OrderOfChannels(OrderKind::kNeighbours, 32, 2), 64, v);
  const PointDescription d = Described(v);
  ASSERT_TRUE(d.order.has_value());
  EXPECT_EQ(d.order->kind, OrderKind::kNeighbours);
  EXPECT_TRUE(d.order->right_heads);
}

TEST(PointDescriptionTest, ValuesOfAnotherPositionOrLayer) {
  Random random(12);
  for (const int64_t shift : {-1, 1, 2}) {
    ComparedValues v = MadeValues(8, 48, kBF16, random);
    for (int64_t r = 0; r < 8; ++r) {
      if (r + shift < 0 || r + shift >= 8) continue;
      for (size_t c = 0; c < 48; ++c) {
        v.theirs[v.At(static_cast<size_t>(r), c)] =
            v.ours[v.At(static_cast<size_t>(r + shift), c)];
      }
    }
    EXPECT_EQ(Described(v).position_shift, shift);
  }
  ComparedValues v = MadeValues(8, 48, kBF16, random);
  const ComparedValues other = MadeValues(8, 48, kBF16, random);
  const ComparedValues third = MadeValues(8, 48, kBF16, random);
  v.theirs = third.theirs;
  DescriptionContext context;
  context.other_layers = {{2, other.ours}, {5, third.ours}};
  EXPECT_EQ(Described(v, context).of_layer, 5u);
}

TEST(PointDescriptionTest, NaNIsCounted) {
  Random random(13);
  ComparedValues v = MadeValues(4, 32, kF32, random);
  v.theirs[v.At(1, 7)] = std::numeric_limits<double>::quiet_NaN();
  const PointDescription d = Described(v);
  EXPECT_EQ(d.nonfinite, 1u);
  EXPECT_EQ(Text(d.positions_that_differ), "1-1 ");
  EXPECT_EQ(Text(d.channels_that_differ), "7-7 ");
  ExpectNothingSaid(d);
}

class RoundedFactorsTest : public testing::Test {
 protected:
  RoundedFactorsTest() {
    context_.beyond_rounding = false;
    context_.result = Format::kBF16;
  }

  // A norm whose rows are multiplied by numbers of less than half a spacing of
  // bf16 from 1, as 1 / rms rounded to bf16 does.
  ComparedValues WithInverseRms(std::vector<double>& inverse_rms) {
    const ComparedValues made = MadeNorm(24, 64, random_);
    ComparedValues v = made;
    for (size_t r = 0; r < v.rows; ++r) {
      inverse_rms.push_back(random_.Uniform(1, 2));
      const double factor =
          RoundedToBF16(inverse_rms.back()) / inverse_rms.back();
      for (size_t c = 0; c < v.cols; ++c) {
        // Two roundings, as ours.
        const double w = 1.25;
        const double x = v.exact[v.At(r, c)] / w;
        v.ours[v.At(r, c)] = RoundedToBF16(RoundedToBF16(x) * w);
        v.theirs[v.At(r, c)] = RoundedToBF16(RoundedToBF16(x * factor) * w);
      }
    }
    return v;
  }

  Random random_{14};
  DescriptionContext context_;
};

TEST_F(RoundedFactorsTest, InverseRmsInBF16IsNamed) {
  std::vector<double> inverse;
  const ComparedValues v = WithInverseRms(inverse);
  PointDescription d = Described(v, context_);
  ASSERT_TRUE(d.row_factors.has_value());
  EXPECT_FALSE(d.row_factors->inverse_rms.has_value());
  EXPECT_GT(*d.row_factors->identical, *d.row_factors->identical_without);
  EXPECT_GT(d.row_factors->least, 1 - 2 * kBF16);
  EXPECT_LT(d.row_factors->largest, 1 + 2 * kBF16);
  context_.inverse_rms = inverse;
  d = Described(v, context_);
  EXPECT_EQ(d.row_factors->inverse_rms, Format::kBF16);
  // Those of other rows are not it.
  std::rotate(inverse.begin(), inverse.begin() + 1, inverse.end());
  context_.inverse_rms = inverse;
  EXPECT_FALSE(Described(v, context_).row_factors->inverse_rms.has_value());
}

// A factor explains no more than it does: other differences beside it leave the
// point without one, and one that is larger is no 1 / rms.
TEST_F(RoundedFactorsTest, AFactorExplainsAll) {
  std::vector<double> inverse;
  ComparedValues v = WithInverseRms(inverse);
  for (double& x : v.theirs) {
    x = RoundedToBF16(x * (1 + 0x1p-6));
    if (random_.Below(3) == 0) x *= 1 + random_.Sign() * 0x1p-6;
  }
  EXPECT_FALSE(Described(v, context_).row_factors.has_value());
  inverse.clear();
  v = WithInverseRms(inverse);
  for (size_t at = 0; at < v.theirs.size(); ++at) {
    const double i = inverse[at / v.cols];
    const double factor = 1 + 3 * (RoundedToBF16(i) / i - 1);
    v.theirs[at] =
        RoundedToBF16(RoundedToBF16(v.exact[at] / 1.25 * factor) * 1.25);
  }
  context_.inverse_rms = inverse;
  const PointDescription d = Described(v, context_);
  ASSERT_TRUE(d.row_factors.has_value());
  EXPECT_FALSE(d.row_factors->inverse_rms.has_value());
}

// Rounding in other places, and flips at random, are no factors.
TEST_F(RoundedFactorsTest, OtherRoundingIsNoFactor) {
  for (int i = 0; i < 50; ++i) {
    ComparedValues v = MadeNorm(8, 64, random_);
    for (size_t at = 0; at < v.theirs.size(); ++at) {
      v.theirs[at] = RoundedToBF16(v.exact[at]);
    }
    EXPECT_FALSE(Described(v, context_).row_factors.has_value());
    for (size_t at = 0; at < v.theirs.size(); ++at) {
      v.theirs[at] = v.ours[at];
      if (random_.Below(3) == 0) v.theirs[at] *= 1 + random_.Sign() * 0x1p-7;
    }
    EXPECT_FALSE(Described(v, context_).row_factors.has_value());
  }
}

}  // namespace
}  // namespace ulpscope
