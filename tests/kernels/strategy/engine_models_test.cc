#include "tests/kernels/strategy/engine_models.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/measure/exact.h"
#include "kernels/measure/random.h"
#include "tests/kernels/strategy/engine_formats.h"
#include "tests/kernels/strategy/engine_inputs.h"

namespace ulpscope::engine_models {
namespace {

using Numbers = std::vector<double>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double Step(const TensorCore& core, const FloatFormat& format, const Numbers& a,
            const Numbers& b, double c = 0) {
  return TensorCoreStep(core, format, a, b, c);
}

// `first` times 1, then `count` products x y.
double Dot(const TensorCore& core, const FloatFormat& format, double first,
           int count, double x, double y) {
  Numbers a = {first};
  Numbers b = {1};
  a.insert(a.end(), static_cast<size_t>(count), x);
  b.insert(b.end(), static_cast<size_t>(count), y);
  return TensorCoreDot(core, format, a, b);
}

TEST(TensorCoreTest, KeepsNFractionBitsOfWhatIsAdded) {
  // Four times 2^-25 are 2^-23, if each is kept.
  EXPECT_EQ(Dot(kH100, kBf16, 1, 4, 0x1p-12, 0x1p-13), 1 + 0x1p-23);
  EXPECT_EQ(Dot(kH100, kBf16, 1, 8, 0x1p-13, 0x1p-13), 1);
  EXPECT_EQ(Dot(kA100, kBf16, 1, 4, 0x1p-12, 0x1p-13), 1);
  EXPECT_EQ(Dot(kA100, kBf16, 1, 2, 0x1p-12, 0x1p-12), 1 + 0x1p-23);
  EXPECT_EQ(Dot(kV100, kF16, 1, 3, 0x1p-12, 0x1p-12), 1);
  EXPECT_EQ(Dot(kV100, kF16, 1, 3, 0x1p-11, 0x1p-12), 1 + 3 * 0x1p-23);
  // Parts below the last kept bit are cut off one by one, toward zero.
  EXPECT_EQ(Dot(kH100, kBf16, 1, 4, 1.5 * 0x1p-12, -0x1p-13), 1 - 0x1p-23);
}

TEST(TensorCoreTest, TruncatesTheSumTowardZero) {
  EXPECT_EQ(Dot(kH100, kBf16, 1, 3, 0x1p-12, 0x1p-13), 1);
  EXPECT_EQ(Dot(kH100, kBf16, -1, 3, 0x1p-12, -0x1p-13), -1);
  // Below 1 the last bit is 2^-24.
  EXPECT_EQ(Dot(kH100, kBf16, 1, 3, 0x1p-12, -0x1p-13), 1 - 0x1p-23);
}

TEST(TensorCoreTest, DoesNotNormalizeProducts) {
  // 2.25 counts 2^0 as a product: eight of 2^-25 stay, and are 2^-22.
  const Numbers a = {1.5,     0x1p-12, 0x1p-12, 0x1p-12, 0x1p-12,
                     0x1p-12, 0x1p-12, 0x1p-12, 0x1p-12};
  const Numbers b = {1.5,     0x1p-13, 0x1p-13, 0x1p-13, 0x1p-13,
                     0x1p-13, 0x1p-13, 0x1p-13, 0x1p-13};
  EXPECT_EQ(Step(kH100, kBf16, a, b), 2.25 + 0x1p-22);
  // It counts 2^1 as an accumulator.
  EXPECT_EQ(Step(kH100, kBf16, {a.begin() + 1, a.end()},
                 {b.begin() + 1, b.end()}, 2.25),
            2.25);
}

TEST(TensorCoreTest, SumsGroupsInAscendingOrder) {
  Numbers ones(17, 1);
  Numbers b(17, 0x1p-25);
  b[16] = 1;
  EXPECT_EQ(TensorCoreDot(kH100, kBf16, ones, b), 1 + 0x1p-21);
  std::reverse(b.begin(), b.end());  // 15 in the first group, one alone
  EXPECT_EQ(TensorCoreDot(kH100, kBf16, ones, b), 1 + 3 * 0x1p-23);
}

TEST(TensorCoreTest, SubnormalsHaveTheLeastExponent) {
  // 2^-24 counts 2^-14 in f16, so 2^-44 is below its 25 bits.
  EXPECT_EQ(Step(kH100, kF16, {0x1p-24, 0x1p-24}, {1, 0x1p-20}), 0x1p-24);
  EXPECT_EQ(Step(kH100, kBf16, {0x1p-24, 0x1p-24}, {1, 0x1p-20}),
            0x1p-24 + 0x1p-44);
  // The least E4M3 number counts 2^-6, and 8 times it 2^-3, of which 2^-16 is
  // the last bit; 2^-9 would keep its square.
  EXPECT_EQ(Step(kH100Fp8, kE4m3, {0x1p-9}, {0x1p-9}), 0x1p-18);
  EXPECT_EQ(Step(kH100Fp8, kE4m3, {0x1p-9, 8}, {0x1p-9, 0x1p-9}), 0x1p-6);
  EXPECT_EQ(Step(kB200Fp8, kE4m3, {0x1p-9, 8}, {0x1p-9, 0x1p-9}),
            0x1p-6 + 0x1p-18);
}

TEST(TensorCoreTest, KeepsSubnormalResultsButNothingBelowThem) {
  EXPECT_EQ(Step(kH100, kBf16, {0x1p-75}, {0x1p-74}), 0x1p-149);
  EXPECT_EQ(Step(kH100, kBf16, {0x1p-75}, {0x1p-75}), 0);
  EXPECT_EQ(Step(kH100, kBf16, {0x1p-75, 0x1p-75}, {0x1p-75, 0x1p-75}),
            0x1p-149);
  // 2^-151 is the last bit where the accumulator counts 2^-126.
  EXPECT_EQ(Step(kH100, kBf16, Numbers(4, 0x1p-76), Numbers(4, 0x1p-75)),
            0x1p-149);
  EXPECT_EQ(Step(kH100, kBf16, Numbers(16, 0x1p-76), Numbers(16, 0x1p-76)), 0);
  const double c = 0x1.8p-140;
  EXPECT_EQ(Step(kH100, kBf16, {0}, {0}, c), c);
}

TEST(TensorCoreTest, ZeroOperandsCountTheirLeastExponentWithTheOther) {
  EXPECT_EQ(Step(kH100, kBf16, {0x1p-30}, {0x1p-30}), 0x1p-60);
  EXPECT_EQ(Step(kH100, kBf16, {0x1p-30, 0}, {0x1p-30, 0x1p100}), 0);
  EXPECT_EQ(Step(kH100, kBf16, {0x1p-30, 0}, {0x1p-30, 0x1p60}), 0x1p-60);
}

TEST(TensorCoreTest, SumsOf2To128AreInfinite) {
  const double h = 0x1p63;
  EXPECT_EQ(Step(kH100, kBf16, {h, h}, {2 * h, 2 * h}), kInfinity);
  EXPECT_EQ(Step(kH100, kBf16, {h, h}, {-2 * h, -2 * h}), -kInfinity);
  EXPECT_EQ(Step(kH100, kBf16, {h, h, h}, {2 * h, 2 * h, -2 * h}), 0x1p127);
  // Just below, it is the largest number: 2^128 - 2^102 has 26 bits.
  EXPECT_EQ(Step(kH100, kBf16, {h, h, h}, {2 * h, 2 * h, -0x1p39}),
            kF32.largest);
  EXPECT_EQ(TensorCoreDot(kV100, kBf16, {h, h, 0, 0, h},
                          {2 * h, 2 * h, 0, 0, -2 * h}),
            kInfinity);
}

TEST(TensorCoreTest, NotFiniteOperandsFollowIeee754) {
  EXPECT_TRUE(std::isnan(Step(kH100, kBf16, {1, kNan}, {1, 1})));
  EXPECT_TRUE(std::isnan(Step(kH100, kBf16, {1, 0}, {1, kInfinity})));
  EXPECT_TRUE(std::isnan(Step(kH100, kBf16, {kInfinity, 1}, {1, -kInfinity})));
  EXPECT_TRUE(std::isnan(Step(kH100, kBf16, {kInfinity}, {-1}, kInfinity)));
  EXPECT_TRUE(std::isnan(Step(kH100, kBf16, {1}, {1}, kNan)));
  EXPECT_EQ(Step(kH100, kBf16, {kInfinity, 5}, {-2, 3}), -kInfinity);
  EXPECT_EQ(Step(kH100, kBf16, {1}, {1}, -kInfinity), -kInfinity);
}

TEST(TensorCoreTest, ZeroIsPositive) {
  for (const double sum : {Step(kH100, kBf16, {-0.0, 0}, {0, -1}),
                           Step(kH100, kBf16, {1, 1}, {1, -1}),
                           Step(kH100, kBf16, {0x1p-80}, {-0x1p-80}),
                           Step(kH100, kBf16, {0x1p-75}, {-0x1p-75}),
                           Step(kH100, kBf16, {0}, {0}, -0.0)}) {
    EXPECT_EQ(sum, 0);
    EXPECT_FALSE(std::signbit(sum));
  }
}

TEST(TensorCoreTest, Fp8KeepsThirteenBits) {
  // 448^2 counts 2^16 and its last bit 8; the sum counts 2^17 and keeps 16.
  EXPECT_EQ(Fp8FastDot({448, 3}, {448, 3}), 200704);
  EXPECT_EQ(Fp8FastDot({448, 3, 3}, {448, 3, 3}), 200704 + 16);
  EXPECT_EQ(Fp8B200Dot({448, 3, 3}, {448, 3, 3}), 200704 + 18);
}

TEST(TensorCoreTest, Tf32OperandsAreTruncated) {
  EXPECT_EQ(Tf32Dot({1 + 0x1.FFFp-11}, {1}), 1);
  EXPECT_EQ(Tf32Dot({-1 - 0x1.FFFp-10}, {1}), -1 - 0x1p-10);
  EXPECT_EQ(Tf32Dot({1 + 0x1p-10}, {1 + 0x1p-10}), 1 + 0x1p-9 + 0x1p-20);
  EXPECT_EQ(Tf32Dot({0x1.FFCp127}, {1}), 0x1.FFCp127);
}

// What makes the models usable as a definition, on all families.
class FamilyTest
    : public testing::TestWithParam<std::pair<FloatFormat, TensorCore>> {};

std::string FormatNameOf(
    const testing::TestParamInfo<FamilyTest::ParamType>& info) {
  return std::string(info.param.first.name) + "_K" +
         std::to_string(info.param.second.products) + "_N" +
         std::to_string(info.param.second.aligned_bits);
}

INSTANTIATE_TEST_SUITE_P(
    All, FamilyTest,
    testing::Values(std::pair{kBf16, kH100}, std::pair{kF16, kH100},
                    std::pair{kBf16, kA100}, std::pair{kF16, kV100},
                    std::pair{kTf32, kH100Tf32}, std::pair{kE4m3, kH100Fp8},
                    std::pair{kE4m3, kB200Fp8}),
    FormatNameOf);

bool Same(double x, double y) {
  return (std::isnan(x) && std::isnan(y)) ||
         (x == y && std::signbit(x) == std::signbit(y));
}

TEST_P(FamilyTest, ZerosAfterTheLastProductDoNotMatter) {
  const auto& [format, core] = GetParam();
  for (const EngineFamily& family : EngineFamilies()) {
    for (const size_t k : {1, 3, 5, 17, 33, 70}) {
      EngineInputs in = MakeEngineInputs(family, format, k, 7 * k);
      const double sum = TensorCoreDot(core, format, in.a, in.b);
      const size_t padded = (k + 63) / 64 * 64;
      in.a.resize(padded);
      in.b.resize(padded);
      EXPECT_TRUE(Same(TensorCoreDot(core, format, in.a, in.b), sum))
          << family.name << " " << k;
    }
  }
}

TEST_P(FamilyTest, OrderWithinAStepDoesNotMatter) {
  const auto& [format, core] = GetParam();
  for (const EngineFamily& family : EngineFamilies()) {
    EngineInputs in = MakeEngineInputs(family, format, core.products, 3);
    const double sum = TensorCoreDot(core, format, in.a, in.b);
    std::reverse(in.a.begin(), in.a.end());
    std::reverse(in.b.begin(), in.b.end());
    EXPECT_TRUE(Same(TensorCoreDot(core, format, in.a, in.b), sum))
        << family.name;
  }
}

// Each of K products and the accumulator loses less than a unit of N bits at
// the largest exponent, and the sum less than one of P bits at its own.
TEST_P(FamilyTest, OneStepErrsByWhatItTruncates) {
  const auto& [format, core] = GetParam();
  for (const EngineFamily& family : EngineFamilies()) {
    for (uint64_t seed = 0; seed < 200; ++seed) {
      const EngineInputs in =
          MakeEngineInputs(family, format, core.products, seed);
      int largest = -126;
      for (size_t i = 0; i < in.a.size(); ++i) {
        largest = std::max(largest, Decompose(format, in.a[i]).exponent +
                                        Decompose(format, in.b[i]).exponent);
      }
      const double sum = TensorCoreStep(core, format, in.a, in.b, 0);
      if (!std::isfinite(sum)) continue;
      const double unit = std::ldexp(1.0, largest - core.aligned_bits);
      const int exponent = sum == 0 ? -126 : std::max(std::ilogb(sum), -126);
      const double last = std::ldexp(1.0, exponent - core.result_bits);
      const double bound = static_cast<double>(in.a.size()) * unit + last;
      EXPECT_LT(std::fabs(ExactDot(in.a, in.b).ErrorOf(sum)), bound)
          << family.name << " " << seed;
    }
  }
}

TEST_P(FamilyTest, ResultsAreF32NumbersOfPBits) {
  const auto& [format, core] = GetParam();
  for (const EngineFamily& family : EngineFamilies()) {
    for (uint64_t seed = 0; seed < 50; ++seed) {
      const EngineInputs in = MakeEngineInputs(family, format, 100, seed);
      const double sum = TensorCoreDot(core, format, in.a, in.b);
      EXPECT_TRUE(Same(Truncate(core.result_bits, -126, sum), sum))
          << family.name << " " << seed;
    }
  }
}

// Published simulations: K = 4096 Gaussian E4M3 operands err by 1.3e-5 of
// sum |a b| without promotion, 2.2e-6 promoted every 128, 1.9e-9 with 25 bits.
// The last depends on how operands fill the format, which its source does not
// say: medians of 2001 dots are 0, 7.3e-10, 1.5e-9, 1.6e-9, 2.0e-9, 2.2e-9 and
// 2.2e-9 for standard deviations 1, 2, 8, 16, 32, 64 and 128, as products of
// small operands are multiples of the last bits that are kept. The other two
// are 1.3e-5 and 1.9e-6 to 2.1e-6 for all of these.
TEST(SanityTest, MedianErrorsAreTheKnownOnes) {
  constexpr size_t kTerms = 4096, kDots = 1001;
  Random random(1);
  const auto draw = [&] {
    return RoundToNearest(kE4m3, 32 * random.Gaussian());
  };
  const Numbers ones(kTerms / 128, 1);
  std::vector<double> fast, promoted, wide;
  for (size_t dot = 0; dot < kDots; ++dot) {
    Fp8Row a = {128, Numbers(kTerms), ones};
    Fp8Row b = a;
    std::generate(a.values.begin(), a.values.end(), draw);
    std::generate(b.values.begin(), b.values.end(), draw);
    const ExactSum exact = ExactDot(a.values, b.values);
    const double scale = ExactAbsDot(a.values, b.values).Round();
    const auto error = [&](double sum) {
      return std::fabs(exact.ErrorOf(sum)) / scale;
    };
    fast.push_back(error(Fp8FastDot(a.values, b.values)));
    promoted.push_back(error(Fp8PromotedDot(a, b)));
    wide.push_back(error(Fp8B200Dot(a.values, b.values)));
  }
  const auto median = [](std::vector<double>& errors) {
    std::nth_element(errors.begin(), errors.begin() + kDots / 2, errors.end());
    return errors[kDots / 2];
  };
  EXPECT_NEAR(median(fast) / 1.3e-5, 1, 0.2);
  EXPECT_NEAR(median(promoted) / 2.2e-6, 1, 0.2);
  EXPECT_NEAR(median(wide) / 1.9e-9, 1, 0.2);
}

// A family that promises something hard is that.
TEST(EngineFamilyTest, InputsAreWhatTheirFamilyPromises) {
  const auto make = [](size_t family, const FloatFormat& format) {
    return MakeEngineInputs(EngineFamilies()[family], format, 256, 5);
  };
  for (const FloatFormat& format : {kBf16, kTf32, kF16, kE4m3}) {
    const EngineInputs swamped = make(1, format);
    double largest = 0, rest = 0;
    for (size_t i = 0; i < swamped.a.size(); ++i) {
      const double product = std::fabs(swamped.a[i] * swamped.b[i]);
      rest = std::max(std::min(product, largest), rest);
      largest = std::max(product, largest);
    }
    EXPECT_GE(largest, 64 * 64 / 16.0);
    EXPECT_LE(rest, 1 / 32.0) << format.name;
    const EngineInputs cancelling = make(2, format);
    EXPECT_LT(std::fabs(ExactDot(cancelling.a, cancelling.b).Round()),
              0.5 * ExactAbsDot(cancelling.a, cancelling.b).Round());
    const EngineInputs subnormal = make(3, format);
    size_t subnormals = 0;
    for (const double x : subnormal.a) {
      subnormals += x != 0 && std::ilogb(x) < format.least_exponent;
    }
    EXPECT_GT(subnormals, 20u) << format.name;
  }
  const EngineInputs f16 = make(4, kF16);
  EXPECT_GT(*std::max_element(f16.a.begin(), f16.a.end()), 65504);
  size_t infinite = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const EngineInputs in =
        MakeEngineInputs(EngineFamilies()[4], kBf16, 16, seed);
    infinite += std::isinf(TensorCoreDot(kH100, kBf16, in.a, in.b));
  }
  EXPECT_GT(infinite, 20u);  // some of them, and some not
  EXPECT_LT(infinite, 80u);
}

}  // namespace
}  // namespace ulpscope::engine_models
