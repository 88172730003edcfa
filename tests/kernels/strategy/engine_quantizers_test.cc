// The quantisers, and the models whose sums are not a tensor core's alone.
#include "tests/kernels/strategy/engine_quantizers.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/strategy/engine_formats.h"
#include "tests/kernels/strategy/engine_models.h"

namespace ulpscope::engine_models {
namespace {

using Numbers = std::vector<double>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Numbers Row(size_t k, const Numbers& first) {
  Numbers row = first;
  row.resize(k);
  return row;
}

TEST(FloatFormatTest, RoundsToTheNearestTiesToEven) {
  for (const auto& [x, expected] :
       std::vector<std::pair<double, double>>{{0.25, 0},
                                              {0.26, 0.5},
                                              {0.75, 1},
                                              {1.25, 1},
                                              {1.75, 2},
                                              {2.5, 2},
                                              {3.5, 4},
                                              {5, 4},
                                              {5.01, 6},
                                              {7, 6},
                                              {1e30, 6}}) {
    EXPECT_EQ(RoundToNearest(kE2m1, x), expected) << x;
    EXPECT_EQ(RoundToNearest(kE2m1, -x), -expected) << x;
  }
  EXPECT_TRUE(std::signbit(RoundToNearest(kE2m1, -0.25)));
  EXPECT_EQ(RoundToNearest(kE4m3, 17), 16);
  EXPECT_EQ(RoundToNearest(kE4m3, 19), 20);
  EXPECT_EQ(RoundToNearest(kE4m3, 0x1p-10), 0);
  EXPECT_EQ(RoundToNearest(kE4m3, 0x3p-10), 0x1p-8);
  EXPECT_EQ(RoundToNearest(kE4m3, 470), 448);
  EXPECT_EQ(RoundToNearest(kE4m3, kInfinity), 448);
  EXPECT_EQ(RoundToNearest(kF16, 65519.9), 65504);
  EXPECT_EQ(RoundToNearest(kF16, 65520), kInfinity);
  EXPECT_EQ(RoundToNearest(kBf16, 1 + 0x1p-8), 1);
  EXPECT_EQ(RoundToNearest(kF32, 1e300), kInfinity);
  EXPECT_TRUE(std::isnan(RoundToNearest(kE4m3, kNan)));
}

TEST(Fp8Test, ScalesABlockToTheLargestNumber) {
  const Fp8Row row = QuantizeFp8(Row(200, Numbers(130, 1)));
  ASSERT_EQ(row.scales.size(), 2u);
  const float scale = 1.0F / 448;
  EXPECT_EQ(row.scales[0], scale);
  EXPECT_EQ(row.values[0], 448);
  EXPECT_EQ(row.values[199], 0);
  const float least = 1e-4F / 448;
  EXPECT_EQ(QuantizeFp8(Row(3, {5e-5F})).scales[0], least);
  EXPECT_EQ(QuantizeFp8(Row(3, {5e-5F})).values[0], 224);
}

TEST(Fp8Test, WeightsHaveAScalePerSquare) {
  Numbers b(130 * 129, 1);
  b[129] = 4;          // row 1, first square
  b[129 * 129] = 448;  // row 129, first column of the lower squares
  b[128] = -896;       // row 0, last column
  const Fp8Weights weights = QuantizeFp8Weights({b.data(), 130, 129});
  const float quarter = 4.0F / 448, one = 1.0F / 448;
  EXPECT_EQ(weights.scales, (Numbers{quarter, 2, 1, one}));
  EXPECT_EQ(weights.Row(0).values[0], 112);
  EXPECT_EQ(weights.Row(0).values[128], -448);
  EXPECT_EQ(weights.Row(1).values[128], 0.5);
  EXPECT_EQ(weights.Row(129).values[0], 448);
  EXPECT_EQ(weights.Row(129).values[1], 1);
  EXPECT_EQ(weights.Row(129).scales, (Numbers{1, one}));
}

TEST(Fp8Test, PromotesEachBlockIntoAnF32Sum) {
  // Scales are 1. 6 is less than the 16 that the fast sum keeps of 200704.
  Numbers a = Row(256, {448}), b = a;
  a[128] = 448;
  b[129] = 448;
  a[130] = 3;
  b[130] = 2;
  EXPECT_EQ(Fp8H100(a, {b.data(), 1, 256}, 0), 200704 + 6);
  EXPECT_EQ(Fp8FastDot(a, b), 200704);
  // The scales' product is rounded, then there is one rounding more.
  const float s = 1.0F / 448;
  const Numbers one = {1};
  EXPECT_EQ(Fp8H100(one, {one.data(), 1, 1}, 0), 448 * 448 * (s * s));
  const float third = 3.0F / 448;
  Numbers both = Row(129, {3});
  both[128] = 1;
  EXPECT_EQ(Fp8H100(both, {both.data(), 1, 129}, 0),
            std::fma(448.0F * 448, s * s,
                     std::fma(448.0F * 448, third * third, 0.0F)));
}

TEST(MxTest, ScalesArePowersOfTwo) {
  const Numbers x = Row(64, {500, -17, 1});
  const MxRow row = QuantizeMxFp8(x);
  EXPECT_EQ(row.scales, (Numbers{1, 0x1p-127}));
  EXPECT_EQ(row.values[0], 448);
  EXPECT_EQ(row.values[1], -16);
  EXPECT_EQ(QuantizeMxFp8({0x1.8p-130}).scales[0], 0x1p-127);
  EXPECT_EQ(QuantizeMxFp8({0x1.8p-130}).values[0], 0x1.8p-3);
  EXPECT_EQ(QuantizeMxFp4({7, 5, 2.5, 0.3}).scales[0], 1);
  EXPECT_EQ(QuantizeMxFp4({7, 5, 2.5, 0.3}).values, (Numbers{6, 4, 2, 0.5}));
  EXPECT_EQ(QuantizeMxFp4({0x1.FFFFFEp127}).scales[0], 0x1p125);
  EXPECT_TRUE(std::isnan(QuantizeMxFp8({1, kInfinity}).scales[0]));
}

TEST(MxTest, ScalesAreAddedToTheExponents) {
  EXPECT_EQ(MxFp8({1}, {1}), 1);
  EXPECT_EQ(MxFp8({3, 5}, {7, -2}), 11);
  EXPECT_EQ(MxFp4({3, 4}, {6, -2}), 10);
  EXPECT_EQ(MxFp4AsFp8Dot(QuantizeMxFp4({3, 4}), QuantizeMxFp4({6, -2})), 10);
  EXPECT_TRUE(std::isnan(MxFp8(Row(64, {kNan}), Row(64, {1}))));
  EXPECT_TRUE(std::isnan(MxFp4(Row(64, {kNan}), Row(64, {1}))));
  // A block of 1, then one with 2^-25 and then 2^-26: the accumulator counts 0.
  Numbers a = Row(33, {1}), b = a;
  a[32] = 0x1p-12;
  b[32] = 0x1p-11;
  EXPECT_EQ(MxFp8(a, b), 1 + 0x1p-23);
  b[32] = 0x1p-12;
  EXPECT_EQ(MxFp8(a, b), 1);
  // All 64 products of FP4 are one step, whose sum alone is truncated.
  a = Numbers(64, 0x1p-13);
  a[0] = 1;
  b = Numbers(64, 0x1p-14);
  b[0] = 1;
  EXPECT_EQ(MxFp4(a, b), 1 + 32 * 0x1p-27);
}

TEST(NvFp4Test, HasTwoLevelsOfScales) {
  const Numbers x = Row(48, Row(32, {2688, 224}));
  Numbers y = x;
  y[16] = 3;
  y[17] = 0.125;
  y[32] = 1e-3F;
  const double global = NvFp4Global({y.data(), 1, 48});
  EXPECT_EQ(global, 1);
  const NvFp4Row row = QuantizeNvFp4(y, global);
  EXPECT_EQ(row.scales, (Numbers{448, 0.5, 0x1p-6}));
  EXPECT_EQ(row.values[0], 6);
  EXPECT_EQ(row.values[1], 0.5);
  EXPECT_EQ(row.values[16], 6);
  EXPECT_EQ(row.values[17], 0);  // a tie between 0 and 0.5
  EXPECT_EQ(row.values[32], 0);
  EXPECT_EQ(NvFp4(x, {x.data(), 1, 48}, 0), 2688.0 * 2688 + 224 * 224);
  const Numbers zero(48);
  EXPECT_EQ(NvFp4(zero, {x.data(), 1, 48}, 0), 0);
  EXPECT_EQ(QuantizeNvFp4(zero, 0).scales, Numbers(3, 0x1p-6));
}

TEST(NvFp4Test, MultipliesByAReciprocalThatIsRoundedTwice) {
  const Numbers x = Row(16, {0.9F, 0.3F, -0.7F});
  const auto global = static_cast<float>(NvFp4Global({x.data(), 1, 16}));
  EXPECT_EQ(global, 0.9F / 2688);
  const NvFp4Row row = QuantizeNvFp4(x, global);
  EXPECT_EQ(row.scales[0], 448);
  const float reciprocal = (1 / global) / 448;
  EXPECT_EQ(row.values[0], RoundToNearest(kE2m1, 0.9F * reciprocal));
  EXPECT_EQ(row.values[1], RoundToNearest(kE2m1, 0.3F * reciprocal));
  EXPECT_EQ(row.values[2], RoundToNearest(kE2m1, -0.7F * reciprocal));
}

TEST(Fp4Test, GroupsCountTheirScalesEvenWhereTheyAreZero) {
  const double tiny = 1.125 * 0x1p-6;
  Numbers a = Row(32, {0.5}), b = a;
  EXPECT_EQ(Fp4ScaledDot(a, Numbers{tiny, tiny}, b, Numbers{tiny, tiny}, 16),
            81 * 0x1p-20);
  // 448 squared counts 2^16, whose 35th bit is 2^-19.
  EXPECT_EQ(Fp4ScaledDot(a, Numbers{tiny, 448}, b, Numbers{tiny, 448}, 16),
            80 * 0x1p-20);
}

TEST(Int8Test, HasAScalePerRow) {
  const Int8Row a = QuantizeInt8({127, -64, 0.5});
  EXPECT_EQ(a.scale, 1);
  EXPECT_EQ(a.values, (std::vector<int>{127, -64, 0}));
  const Int8Row b = QuantizeInt8({2, 1, -1});  // 63.5 is a tie, to even
  const float scale = 2.0F / 127;
  EXPECT_EQ(b.scale, scale);
  EXPECT_EQ(b.values, (std::vector<int>{127, 64, -64}));
  EXPECT_EQ(Int8Dot(a, b), scale * (127.0F * 127 - 64 * 64));
  EXPECT_EQ(Int8(Numbers(5), Numbers(5, 3)), 0);
  // 1061 times 127^2 is above 2^24 and odd: it is rounded before it is scaled.
  const Numbers many(1061, 127);
  EXPECT_EQ(Int8(many, many), 17112868);
}

TEST(SplitKTest, AddsRoundedPartialSumsInOrder) {
  std::vector<size_t> lengths;
  const auto sum = [&](Values a, Values /*b*/) {
    lengths.push_back(a.size());
    double total = 0;
    for (const double x : a) total += x;
    return total;
  };
  const Numbers a = {1, 0x1p-9, 1, 0x1p-7, 0x1p-24};
  EXPECT_EQ(SplitK(3, kF32, a, a, sum), 2 + 0x1p-9 + 0x1p-7);
  EXPECT_EQ(lengths, (std::vector<size_t>{2, 2, 1}));
  EXPECT_EQ(SplitK(3, kBf16, a, a, sum), 2 + 0x1p-7);
  EXPECT_EQ(SplitK(1, kBf16, a, a, sum), 2.015625);
  EXPECT_EQ(SplitK(9, kF32, {}, {}, sum), 0);
}

TEST(F16AccumulatedTest, RoundsAfterEachProduct) {
  EXPECT_EQ(F16AccumulatedDot(Numbers(3000, 1), Numbers(3000, 1)), 2048);
  EXPECT_EQ(F16AccumulatedDot({1, 0x1p-11}, {1, 1}), 1);
  EXPECT_EQ(F16AccumulatedDot({1, 1 + 0x1p-10}, {1, 0x1p-11}), 1 + 0x1p-10);
  EXPECT_EQ(F16AccumulatedDot({60000, 60000}, {1, 1}), kInfinity);
  // 1141 * 1838 is 2^21 + 6: above a tie by less than f32 has beside 1.
  const Numbers a = {1, 1141 * 0x1p-8};
  const Numbers b = {1, 1838 * 0x1p-24};
  EXPECT_EQ(F16AccumulatedDot(a, b), 1);
  EXPECT_EQ(F16AccumulatedDot(a, b, F16Rounding::kOnce), 1 + 0x1p-10);
}

TEST(Q8Test, RoundsTiesToEvenAndKeepsAnF16Scale) {
  const Q8Row row = QuantizeQ8(Row(64, {127, 0.5, -0.5, 2.5, -63.4}));
  EXPECT_EQ(row.scales, (Numbers{1, 0}));
  EXPECT_EQ((std::vector<int>{row.values.begin(), row.values.begin() + 6}),
            (std::vector<int>{127, 0, 0, 2, -63, 0}));
  const Q8Row small = QuantizeQ8({1, -0.25});
  EXPECT_EQ(small.scales[0], RoundToNearest(kF16, 1.0F / 127));
  EXPECT_EQ(small.values, (std::vector<int>{127, -32}));
  // d is 1 / 127 before it is rounded to f16.
  EXPECT_EQ(small.sums[0], RoundToNearest(kF16, 95.0F / 127));
}

TEST(Q8Test, LargestOfQ8KIsMinus127) {
  const Q8Row row = QuantizeQ8K(Row(256, {0.5, -2, 2, 1}));
  EXPECT_EQ(row.scales, (Numbers{1.0F / 63.5F}));
  EXPECT_EQ((std::vector<int>{row.values.begin(), row.values.begin() + 4}),
            (std::vector<int>{32, -127, 127, 64}));
  const Q8Row positive = QuantizeQ8K(Row(256, {2, -2}));
  EXPECT_EQ(positive.values[0], -127);
  EXPECT_EQ(positive.values[1], 127);
  EXPECT_LT(positive.scales[0], 0);
}

TEST(Q8Test, RoundsOncePerBlock) {
  // d is 1 in both blocks, and the first is 127.
  Numbers activations = Row(64, {127});
  activations[32] = 127;
  activations[33] = 1;
  activations[34] = 1;
  Numbers weights = Row(64, {1});
  weights[33] = 0x1p-18;  // half of 127's last bit: a tie, to even
  EXPECT_EQ(Q8Dot(QuantizeQ8(activations), weights), 127);
  // Rounded to f32 by itself, the block's sum would still be the tie.
  weights[34] = 0x1p-60;
  EXPECT_EQ(Q8Dot(QuantizeQ8(activations), weights), 127 + 0x1p-17);
}

// The vectors of Random123's kat_vectors.
TEST(StochasticRoundingTest, PhiloxGivesTheKnownAnswers) {
  using Four = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox(0, {0, 0, 0, 0}),
            (Four{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  EXPECT_EQ(Philox(~uint64_t{0}, {~0u, ~0u, ~0u, ~0u}),
            (Four{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  EXPECT_EQ(Philox(0x299F31D0A4093822,
                   {0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}),
            (Four{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
}

TEST(StochasticRoundingTest, RoundsUpAsOftenAsItShould) {
  const double x = 1 + 0.75 * 0x1p-7;
  int up = 0;
  for (uint32_t i = 0; i < 10000; ++i) {
    const double y = RoundStochasticallyToBf16(-x, 9, {0, 1, 2, i});
    ASSERT_TRUE(y == -1 || y == -1 - 0x1p-7);
    up += y != -1;
    ASSERT_EQ(RoundStochasticallyToBf16(1.5, 9, {0, 1, 2, i}), 1.5);
  }
  EXPECT_NEAR(up, 7500, 5 * std::sqrt(10000 * 0.75 * 0.25));
  // Philox of zeros ends in 0xE8D5.
  const auto at = [](double low) {
    return RoundStochasticallyToBf16(1 + low * 0x1p-23, 0, {0, 0, 0, 0});
  };
  EXPECT_EQ(at(0x10000 - 0xE8D5 - 1), 1);
  EXPECT_EQ(at(0x10000 - 0xE8D5), 1 + 0x1p-7);
  EXPECT_EQ(RoundStochasticallyToBf16(-kInfinity, 0, {0, 0, 0, 0}), -kInfinity);
  EXPECT_TRUE(std::isnan(RoundStochasticallyToBf16(kNan, 0, {0, 0, 0, 0})));
}

}  // namespace
}  // namespace ulpscope::engine_models
