#include "kernels/measure/exact.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTiny = std::numeric_limits<double>::denorm_min();
constexpr double kHuge = std::numeric_limits<double>::max();

ExactSum SumOf(const std::vector<double>& x) { return ExactTotal(x); }

// As make_exact_cases.py draws them.
double DrawDouble(Random& random, uint64_t low, uint64_t high) {
  uint64_t bits = random.Next() & ~(uint64_t{0x7FF} << 52);
  bits |= (low + random.Below(high - low + 1)) << 52;
  double x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

struct FractionCase {
  uint64_t seed;
  int n;
  uint64_t lowest_exponent, highest_exponent;  // biased
  double total, total_f32, dot, dot_f32, dot_bf16;
};

// Printed by tools/make_exact_cases.py, which computes with
// Python's fractions.
constexpr FractionCase kFractionCases[] = {
    {1, 10, 0, 2046, 0x1.b54d8d101b5b9p+952, kInfinity, kInfinity, kInfinity,
     kInfinity},
    {2, 100, 1000, 1046, 0x1.9e46b6d0b1df6p+24, 0x1.9e46b60000000p+24,
     0x1.5e3ca2ba6bc20p+38, 0x1.5e3ca20000000p+38, 0x1.5e00000000000p+38},
    {3, 100, 1022, 1023, 0x1.6859ffc0bf49ap+0, 0x1.685a000000000p+0,
     0x1.1bd44a4a70718p+3, 0x1.1bd44a0000000p+3, 0x1.1c00000000000p+3},
    {4, 50, 0, 3, 0x1.2b7bb8f7e48f0p-1017, 0.0, -0.0, -0.0, -0.0},
    {5, 7, 2040, 2046, kInfinity, kInfinity, kInfinity, kInfinity, kInfinity},
    {6, 500, 900, 1140, 0x1.e39149b5ae810p+116, 0x1.e3914a0000000p+116,
     -0x1.7363ba6151bbbp+234, -kInfinity, -kInfinity},
    {7, 20, 485, 500, -0x1.a4a90d929dcdfp-525, -0.0, -0x0.0000006b051c4p-1022,
     -0.0, -0.0},
    {8, 20, 500, 520, 0x1.84dcc03c03ba8p-504, 0.0, -0x1.d83352f34e72ap-1010,
     -0.0, -0.0},
    {9, 40, 920, 950, -0x1.0bb4a2c571227p-73, -0x1.0bb4a20000000p-73,
     0x1.961c948a01e18p-147, 0x1.8000000000000p-147, 0.0},
    {10, 3, 1010, 1030, 0x1.5a82e56750a6dp+7, 0x1.5a82e60000000p+7,
     0x1.10f2d0393ec90p-1, 0x1.10f2d00000000p-1, 0x1.1000000000000p-1},
};

struct Terms {
  std::vector<double> a, b;
};

Terms DrawTerms(const FractionCase& test) {
  Random random(test.seed);
  Terms terms;
  for (int i = 0; i < test.n; ++i) {
    terms.a.push_back(
        DrawDouble(random, test.lowest_exponent, test.highest_exponent));
    terms.b.push_back(
        DrawDouble(random, test.lowest_exponent, test.highest_exponent));
  }
  return terms;
}

TEST(ExactSumTest, EmptySumIsPositiveZero) {
  const ExactSum sum;
  EXPECT_EQ(sum.Round(), 0.0);
  EXPECT_FALSE(std::signbit(sum.Round()));
  EXPECT_EQ(sum.Sign(), 0);
}

TEST(ExactSumTest, OneTermComesBackUnchanged) {
  for (const double x :
       {1.0, -1.0, 0.1, kTiny, -kTiny, 0x1.fffffffffffffp-1023, 0x1p-1022,
        kHuge, -kHuge, 0x1.23456789abcdep-700, 4503599627370497.5}) {
    EXPECT_EQ(SumOf({x}).Round(), x);
    EXPECT_EQ(SumOf({x}).Sign(), x > 0.0 ? 1 : -1);
  }
}

TEST(ExactSumTest, SumsIntegers) {
  ExactSum sum, squares;
  constexpr int64_t kN = 100000;
  for (int64_t i = 1; i <= kN; ++i) {
    const auto term = static_cast<double>(i % 2 == 0 ? i : -i);
    sum.Add(term);
    squares.AddProduct(term, term);
  }
  EXPECT_EQ(sum.Round(), kN / 2);
  EXPECT_EQ(squares.Round(), kN * (kN + 1) * (2 * kN + 1) / 6);
}

// Sum of 1 / (k (k + 1)) telescopes: with exact differences of the rounded
// reciprocals only the first and the last are left.
TEST(ExactSumTest, TelescopingSeriesLeavesItsEnds) {
  ExactSum sum;
  constexpr int kN = 10000;
  for (int k = 1; k < kN; ++k) {
    sum.Add(1.0 / k);
    sum.Add(-1.0 / (k + 1));
  }
  EXPECT_EQ(sum.ErrorOf(1.0), 1.0 / kN);
}

// H_n = ln n + Euler's constant + 1 / 2n - 1 / 12n^2 + at most 1 / 120n^4; each
// reciprocal was rounded by at most 2^-54.
TEST(ExactSumTest, HarmonicSeriesFollowsItsExpansion) {
  ExactSum sum;
  constexpr int kN = 100000;
  for (int k = kN; k >= 1; --k) sum.Add(1.0 / k);
  const double n = kN;
  const double expected =
      std::log(n) + 0.57721566490153286061 + 0.5 / n - 1.0 / (12.0 * n * n);
  // ln n < 16, so `expected` is off by a few 2^-50.
  EXPECT_NEAR(sum.Round(), expected, n * 0x1p-54 + 4 * 0x1p-50);
}

TEST(ExactSumTest, GeometricSeriesIsExact) {
  ExactSum sum;
  for (int k = -1074; k <= 1023; ++k) sum.Add(std::ldexp(1.0, k));
  // 2^1024 - 2^-1074.
  EXPECT_EQ(sum.Round(), kInfinity);
  sum.Add(-kHuge);  // 2^1024 - 2^971
  EXPECT_EQ(sum.Round(), 0x1p971);
  sum.Add(-0x1p971);
  EXPECT_EQ(sum.Round(), -kTiny);
}

TEST(ExactSumTest, HugeTermsHideNothing) {
  EXPECT_EQ(SumOf({kHuge, kTiny, -kHuge}).Round(), kTiny);
  EXPECT_EQ(SumOf({kHuge, kHuge, kHuge, -1.5, -kHuge, -kHuge, -kHuge}).Round(),
            -1.5);
  EXPECT_EQ(SumOf({1e16, 1.0, -1e16}).Round(), 1.0);
}

TEST(ExactSumTest, AgreesWithFractions) {
  for (const FractionCase& test : kFractionCases) {
    SCOPED_TRACE(test.seed);
    const Terms terms = DrawTerms(test);
    const ExactSum total = ExactTotal(terms.a);
    EXPECT_EQ(total.Round(), test.total);
    EXPECT_EQ(total.RoundToFloat(), static_cast<float>(test.total_f32));
    const ExactSum dot = ExactDot(terms.a, terms.b);
    EXPECT_EQ(dot.Round(), test.dot);
    EXPECT_EQ(dot.RoundToFloat(), static_cast<float>(test.dot_f32));
    EXPECT_EQ(dot.RoundToBf16(), static_cast<float>(test.dot_bf16));
  }
}

TEST(ExactSumTest, OrderChangesNothing) {
  for (const FractionCase& test : kFractionCases) {
    Terms terms = DrawTerms(test);
    ExactSum difference = ExactDot(terms.a, terms.b);
    difference.Negate();
    Random random(99);
    for (size_t i = terms.a.size(); i > 1; --i) {
      const size_t j = random.Below(i);
      std::swap(terms.a[i - 1], terms.a[j]);
      std::swap(terms.b[i - 1], terms.b[j]);
    }
    const ExactSum permuted = ExactDot(terms.b, terms.a);
    EXPECT_EQ(permuted.Round(), ExactDot(terms.a, terms.b).Round());
    EXPECT_EQ(permuted.Round(), test.dot);
    difference.Merge(permuted);
    EXPECT_EQ(difference.Sign(), 0);
  }
}

TEST(ExactSumTest, TiesGoToEven) {
  EXPECT_EQ(SumOf({1.0, 0x1p-53}).Round(), 1.0);
  EXPECT_EQ(SumOf({0x1.0000000000001p0, 0x1p-53}).Round(), 0x1.0000000000002p0);
  EXPECT_EQ(SumOf({-1.0, -0x1p-53}).Round(), -1.0);
  EXPECT_EQ(SumOf({-0x1.0000000000001p0, -0x1p-53}).Round(),
            -0x1.0000000000002p0);
  EXPECT_EQ(SumOf({0x1.fffffffffffffp0, 0x1p-53}).Round(), 2.0);
  EXPECT_EQ(SumOf({1.0, 0x1p-24}).RoundToFloat(), 1.0F);
  EXPECT_EQ(SumOf({1.0, 0x1p-23, 0x1p-24}).RoundToFloat(), 0x1.000004p0F);
  EXPECT_EQ(SumOf({1.0, 0x1p-8}).RoundToBf16(), 1.0F);
  EXPECT_EQ(SumOf({1.0, 0x1p-7, 0x1p-8}).RoundToBf16(), 0x1.04p0F);
}

TEST(ExactSumTest, TheFarthestBitBreaksATie) {
  ExactSum sum = SumOf({1.0, 0x1p-53});
  sum.AddProduct(kTiny, kTiny);  // 2^-2148
  EXPECT_EQ(sum.Round(), 0x1.0000000000001p0);
  sum.AddProduct(-kTiny, 2.0 * kTiny);
  EXPECT_EQ(sum.Round(), 1.0);
  sum = SumOf({-1.0, -0x1p-53});
  sum.AddProduct(kTiny, -kTiny);
  EXPECT_EQ(sum.Round(), -0x1.0000000000001p0);
}

// Through f64, 1 + 2^-24 + 2^-60 would round down twice.
TEST(ExactSumTest, FloatsAreRoundedOnce) {
  const ExactSum sum = SumOf({1.0, 0x1p-24, 0x1p-60});
  EXPECT_EQ(static_cast<float>(sum.Round()), 1.0F);
  EXPECT_EQ(sum.RoundToFloat(), 0x1.000002p0F);
  const ExactSum bf16_sum = SumOf({1.0, 0x1p-8, 0x1p-60});
  EXPECT_EQ(bf16_sum.RoundToBf16(), 0x1.02p0F);
}

TEST(ExactSumTest, RoundsToSubnormals) {
  ExactSum sum;
  sum.AddProduct(0x1p-537, 0x1p-538);  // 2^-1075, half the least number
  EXPECT_EQ(sum.Round(), 0.0);
  EXPECT_EQ(sum.Sign(), 1);
  sum.AddProduct(kTiny, kTiny);
  EXPECT_EQ(sum.Round(), kTiny);
  EXPECT_EQ(SumOf({0x1p-150}).RoundToFloat(), 0.0F);
  EXPECT_EQ(SumOf({0x1p-150, 0x1p-200}).RoundToFloat(), 0x1p-149F);
  EXPECT_EQ(SumOf({0x1p-149, 0x1p-150}).RoundToFloat(), 0x1p-148F);
  EXPECT_EQ(SumOf({0x1p-200}).RoundToFloat(), 0.0F);
  EXPECT_EQ(SumOf({0x1p-134, 0x1p-149}).RoundToBf16(), 0x1p-133F);
}

TEST(ExactSumTest, OverflowsWhereRoundingReachesThePowerOfTwo) {
  EXPECT_EQ(SumOf({kHuge, 0x1p969}).Round(), kHuge);
  EXPECT_EQ(SumOf({kHuge, 0x1p970}).Round(), kInfinity);  // a tie, to even
  EXPECT_EQ(SumOf({-kHuge, -0x1p970}).Round(), -kInfinity);
  EXPECT_EQ(SumOf({kHuge, 0x1p970, -kTiny}).Round(), kHuge);
  const float infinity = std::numeric_limits<float>::infinity();
  const float max = std::numeric_limits<float>::max();
  EXPECT_EQ(SumOf({max, 0x1p102}).RoundToFloat(), max);
  EXPECT_EQ(SumOf({max, 0x1p103}).RoundToFloat(), infinity);
  EXPECT_EQ(SumOf({-kHuge}).RoundToFloat(), -infinity);
}

TEST(ExactSumTest, ProductsAreNotRounded) {
  const double x = 0x1.0000000000001p0;
  ExactSum sum;
  sum.AddProduct(x, x);
  sum.Add(-0x1.0000000000002p0);
  EXPECT_EQ(sum.Round(), 0x1p-104);
  ExactSum huge;
  huge.AddProduct(kHuge, kHuge);
  EXPECT_EQ(huge.Round(), kInfinity);
  huge.AddProduct(-kHuge, kHuge);
  huge.AddProduct(kTiny, 3.0);
  EXPECT_EQ(huge.Round(), 3.0 * kTiny);
}

TEST(ExactSumTest, ManyCarriesAreKept) {
  ExactSum sum;
  constexpr int kN = 1 << 20;
  for (int i = 0; i < kN; ++i) sum.Add(-0x1.fffffffffffffp0);
  EXPECT_EQ(sum.Round(), -0x1.fffffffffffffp20);
  // By doubling, beyond the 2^62 that fit into a limb between carries.
  ExactSum doubled = SumOf({0x1.fffffffffffffp0});
  for (int i = 0; i < 63; ++i) doubled.Merge(doubled);
  EXPECT_EQ(doubled.Round(), 0x1.fffffffffffffp63);
}

TEST(ExactSumTest, MergeAndNegateAreExact) {
  const FractionCase& test = kFractionCases[5];
  const Terms terms = DrawTerms(test);
  const absl::Span<const double> all(terms.a);
  ExactSum merged = ExactTotal(all.subspan(0, 123));
  merged.Merge(ExactTotal(all.subspan(123)));
  EXPECT_EQ(merged.Round(), test.total);
  merged.Negate();
  EXPECT_EQ(merged.Round(), -test.total);
}

TEST(ExactSumTest, ErrorIsThatOfTheExactSum) {
  const ExactSum sum = SumOf({1.0, 0x1p-60});
  EXPECT_EQ(sum.ErrorOf(1.0), -0x1p-60);
  EXPECT_EQ(sum.ErrorOf(2.0), 1.0);  // 1 - 2^-60, rounded
  EXPECT_EQ(sum.ErrorOf(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(sum.ErrorOf(std::nan(""))));
}

TEST(ExactSumTest, NonFiniteTermsStay) {
  EXPECT_EQ(SumOf({1.0, kInfinity, -5.0}).Round(), kInfinity);
  EXPECT_EQ(SumOf({-kInfinity, 1.0}).RoundToFloat(),
            -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(SumOf({kInfinity, -kInfinity, kInfinity}).Round()));
  EXPECT_TRUE(std::isnan(SumOf({1.0, std::nan("")}).RoundToFloat()));
  ExactSum product;
  product.AddProduct(kInfinity, -2.0);
  EXPECT_EQ(product.Round(), -kInfinity);
  product.AddProduct(kInfinity, 0.0);
  EXPECT_TRUE(std::isnan(product.Round()));
  ExactSum merged = SumOf({1.0});
  merged.Merge(SumOf({kInfinity}));
  merged.Negate();
  EXPECT_EQ(merged.Round(), -kInfinity);
}

TEST(ExactDotTest, SumsProductsAndTheirMagnitudes) {
  const std::vector<float> a = {3.0F, -2.0F, 0.5F};
  const std::vector<float> b = {1.0F, 4.0F, -8.0F};
  EXPECT_EQ(ExactDot(a, b).Round(), -9.0);
  EXPECT_EQ(ExactAbsDot(a, b).Round(), 15.0);
  EXPECT_EQ(ExactTotal(a).Round(), 1.5);
  EXPECT_EQ(ConditionNumber(a, b), 2.0 * 15.0 / 9.0);
}

TEST(ExactDotTest, ConditionNumberOfAZeroIsInfinite) {
  EXPECT_EQ(ConditionNumber(std::vector<float>{1.0F, -1.0F},
                            std::vector<float>{2.0F, 2.0F}),
            kInfinity);
  EXPECT_EQ(ConditionNumber({}, {}), kInfinity);
}

}  // namespace
}  // namespace ulpscope
