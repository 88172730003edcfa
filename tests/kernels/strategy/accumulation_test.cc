// What the policies of kernels/strategy/sum_policies-inl.h are made of, in the
// code that is compiled per target.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/measure/exact.h"
#include "kernels/measure/random.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/targets.h"

#ifndef TESTS_ACCUMULATION_TEST_CC_ONCE_
#define TESTS_ACCUMULATION_TEST_CC_ONCE_
namespace ulpscope {

// A rounded result and its error, value by value.
template <typename T>
struct ErrorFree {
  std::vector<T> result, error;
};

}  // namespace ulpscope
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/strategy/accumulation_test.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/error_free-inl.h"
#include "kernels/strategy/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums of a[i] b[i] over i, one per column of `width`: by the f32 strategy's
// policy, and by a product that is rounded before it is added.
void SumBothWays(const std::vector<float>& a, const std::vector<float>& b,
                 size_t width, std::vector<float>& fused,
                 std::vector<float>& separate) {
  ForEachVector<float>(width, [&](auto d, size_t col) HWY_ATTR {
    auto sum = hn::Zero(d);
    auto rounded_sum = hn::Zero(d);
    auto unused = hn::Zero(d);
    for (size_t i = 0; i < a.size() / width; ++i) {
      const auto av = hn::LoadU(d, a.data() + i * width + col);
      const auto bv = hn::LoadU(d, b.data() + i * width + col);
      Recursive<float>::MulAdd(d, av, bv, sum, unused);
      rounded_sum = hn::Add(rounded_sum, hn::Mul(av, bv));
    }
    hn::StoreU(sum, d, fused.data() + col);
    hn::StoreU(rounded_sum, d, separate.data() + col);
  });
}

template <typename T>
void TwoSums(const std::vector<T>& a, const std::vector<T>& b,
             ErrorFree<T>& out) {
  ForEachVector<T>(a.size(), [&](auto d, size_t i) HWY_ATTR {
    auto error = hn::Zero(d);
    const auto sum =
        TwoSum(hn::LoadU(d, a.data() + i), hn::LoadU(d, b.data() + i), error);
    hn::StoreU(sum, d, out.result.data() + i);
    hn::StoreU(error, d, out.error.data() + i);
  });
}

template <typename T>
void FastTwoSums(const std::vector<T>& a, const std::vector<T>& b,
                 ErrorFree<T>& out) {
  ForEachVector<T>(a.size(), [&](auto d, size_t i) HWY_ATTR {
    auto error = hn::Zero(d);
    const auto sum = FastTwoSum(hn::LoadU(d, a.data() + i),
                                hn::LoadU(d, b.data() + i), error);
    hn::StoreU(sum, d, out.result.data() + i);
    hn::StoreU(error, d, out.error.data() + i);
  });
}

template <typename T>
void TwoProducts(const std::vector<T>& a, const std::vector<T>& b,
                 ErrorFree<T>& out) {
  ForEachVector<T>(a.size(), [&](auto d, size_t i) HWY_ATTR {
    auto error = hn::Zero(d);
    const auto product = TwoProduct(hn::LoadU(d, a.data() + i),
                                    hn::LoadU(d, b.data() + i), error);
    hn::StoreU(product, d, out.result.data() + i);
    hn::StoreU(error, d, out.error.data() + i);
  });
}

void TwoSumsF32(const std::vector<float>& a, const std::vector<float>& b,
                ErrorFree<float>& out) {
  TwoSums(a, b, out);
}
void TwoSumsF64(const std::vector<double>& a, const std::vector<double>& b,
                ErrorFree<double>& out) {
  TwoSums(a, b, out);
}
void FastTwoSumsF32(const std::vector<float>& a, const std::vector<float>& b,
                    ErrorFree<float>& out) {
  FastTwoSums(a, b, out);
}
void FastTwoSumsF64(const std::vector<double>& a, const std::vector<double>& b,
                    ErrorFree<double>& out) {
  FastTwoSums(a, b, out);
}
void TwoProductsF32(const std::vector<float>& a, const std::vector<float>& b,
                    ErrorFree<float>& out) {
  TwoProducts(a, b, out);
}
void TwoProductsF64(const std::vector<double>& a, const std::vector<double>& b,
                    ErrorFree<double>& out) {
  TwoProducts(a, b, out);
}

void RoundAllToBF16(std::vector<float>& x) {
  ForEachVector<float>(x.size(), [&](auto d, size_t i) HWY_ATTR {
    hn::StoreU(RoundToBF16(d, hn::LoadU(d, x.data() + i)), d, x.data() + i);
  });
}

void RoundAllToF16(std::vector<float>& x) {
  ForEachVector<float>(x.size(), [&](auto d, size_t i) HWY_ATTR {
    hn::StoreU(RoundToF16(d, hn::LoadU(d, x.data() + i)), d, x.data() + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(SumBothWays);
HWY_EXPORT(TwoSumsF32);
HWY_EXPORT(TwoSumsF64);
HWY_EXPORT(FastTwoSumsF32);
HWY_EXPORT(FastTwoSumsF64);
HWY_EXPORT(TwoProductsF32);
HWY_EXPORT(TwoProductsF64);
HWY_EXPORT(RoundAllToBF16);
HWY_EXPORT(RoundAllToF16);

namespace {

class AccumulationTest : public testing::TestWithParam<int64_t> {
 protected:
  AccumulationTest() : scoped_target_(GetParam()) {}

 private:
  ScopedTarget scoped_target_;
};

INSTANTIATE_TEST_SUITE_P(All, AccumulationTest,
                         testing::ValuesIn(RunnableTargets()), NameOfTarget);

// Were Add(s, Mul(a, b)) contracted to an FMA, as GCC does by default, the two
// would agree everywhere. Of 1000 independent dots of 50 products most end in
// different last bits; a third is far below what any seed gives.
TEST_P(AccumulationTest, FmaDiffersFromMultiplyThenAdd) {
  constexpr size_t kDots = 1000, kTerms = 50;
  Random random(1);
  std::vector<float> a, b;
  for (size_t i = 0; i < kDots * kTerms; ++i) {
    a.push_back(static_cast<float>(random.Gaussian()));
    b.push_back(static_cast<float>(random.Gaussian()));
  }
  std::vector<float> fused(kDots), separate(kDots);
  HWY_DYNAMIC_DISPATCH(SumBothWays)(a, b, kDots, fused, separate);
  size_t differ = 0;
  for (size_t i = 0; i < kDots; ++i) differ += fused[i] != separate[i];
  EXPECT_GT(differ, 333u) << "products are contracted into FMAs: is "
                             "-ffp-contract=off missing in .bazelrc?";
  // Each is what its loop says.
  for (size_t j = 0; j < kDots; ++j) {
    float fma_sum = 0;
    float sum = 0;
    for (size_t i = 0; i < kTerms; ++i) {
      const float x = a[i * kDots + j];
      const float y = b[i * kDots + j];
      fma_sum = std::fma(x, y, fma_sum);
      const float product = x * y;
      sum += product;
    }
    ASSERT_TRUE(SameBits(fused[j], fma_sum)) << j;
    ASSERT_TRUE(SameBits(separate[j], sum)) << j;
  }
}

// Pairs of all signs and relative sizes, from equal to one below the other's
// last bit.
template <typename T>
void DrawPairs(std::vector<T>& a, std::vector<T>& b) {
  Random random(2);
  const int digits = std::numeric_limits<T>::digits;
  for (int shift = -2 * digits; shift <= 2 * digits; ++shift) {
    for (int i = 0; i < 41; ++i) {
      a.push_back(static_cast<T>(random.Gaussian()));
      const double y = std::ldexp(random.Gaussian(), shift / 2);
      b.push_back(i % 4 == 0 && shift == 0 ? -a.back() : static_cast<T>(y));
    }
  }
  // Where an ulp changes, and ties.
  const T u = std::numeric_limits<T>::epsilon() / 2;
  for (const T x : {T{1}, 1 - u, 1 + 2 * u, T{-1}, T{0}}) {
    for (const T y : {T{1}, -T{1}, u, -u, u / 2, -u / 2, 3 * u, T{0}}) {
      a.push_back(x);
      b.push_back(y);
    }
  }
}

// result is the exact one rounded, error all that the rounding left out.
template <typename T>
void ExpectErrorFree(bool product, T a, T b, T result, T error) {
  ExactSum exact;
  if (product) {
    exact.AddProduct(a, b);
  } else {
    exact.Add(a);
    exact.Add(b);
  }
  EXPECT_EQ(exact.ErrorOf(result), -double{error}) << a << " " << b;
  const double rounded =
      sizeof(T) == 4 ? double{exact.RoundToFloat()} : exact.Round();
  EXPECT_EQ(result, rounded) << a << " " << b;
}

template <typename T, typename Function>
void CheckErrorFree(Function function, bool product, bool ordered) {
  std::vector<T> a, b;
  DrawPairs(a, b);
  if (ordered) {
    for (size_t i = 0; i < a.size(); ++i) {
      if (std::fabs(a[i]) < std::fabs(b[i])) std::swap(a[i], b[i]);
    }
    a.push_back(0);  // as the first of a sum
    b.push_back(3);
  }
  ErrorFree<T> out = {std::vector<T>(a.size()), std::vector<T>(a.size())};
  function(a, b, out);
  for (size_t i = 0; i < a.size(); ++i) {
    ExpectErrorFree(product, a[i], b[i], out.result[i], out.error[i]);
  }
}

TEST_P(AccumulationTest, TwoSumIsExact) {
  CheckErrorFree<float>(HWY_DYNAMIC_POINTER(TwoSumsF32), false, false);
  CheckErrorFree<double>(HWY_DYNAMIC_POINTER(TwoSumsF64), false, false);
}

TEST_P(AccumulationTest, FastTwoSumIsExactFromTheLargerOn) {
  CheckErrorFree<float>(HWY_DYNAMIC_POINTER(FastTwoSumsF32), false, true);
  CheckErrorFree<double>(HWY_DYNAMIC_POINTER(FastTwoSumsF64), false, true);
}

TEST_P(AccumulationTest, TwoProductIsExact) {
  CheckErrorFree<float>(HWY_DYNAMIC_POINTER(TwoProductsF32), true, false);
  CheckErrorFree<double>(HWY_DYNAMIC_POINTER(TwoProductsF64), true, false);
}

uint32_t FloatBits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

float FloatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

// All 2^16 upper halves with lower halves where rounding changes its mind, so
// every bf16, every tie, every subnormal and every kind of NaN.
TEST_P(AccumulationTest, RoundsToBF16AsArithmeticDoes) {
  for (const uint32_t low : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u,
                             0xFFFFu, 0x1234u, 0xABCDu}) {
    std::vector<float> x;
    for (uint32_t high = 0; high < 0x10000; ++high) {
      x.push_back(FloatOf(high << 16 | low));
    }
    std::vector<float> y = x;
    HWY_DYNAMIC_DISPATCH(RoundAllToBF16)(y);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(FloatBits(y[i]) & 0xFFFF, 0u) << "not a bf16: " << y[i];
      if (std::isnan(x[i])) {
        ASSERT_TRUE(std::isnan(y[i]));
        ASSERT_NE(FloatBits(y[i]) & 0x00400000, 0u) << "a signaling NaN";
      } else {
        ASSERT_TRUE(SameBits(y[i], Rounded(Format::kBF16, x[i])))
            << x[i] << " became " << y[i];
      }
    }
  }
}

// All 2^16 f16 by their definition, with NaNs for those that have none.
std::vector<double> EveryF16() {
  std::vector<double> all;
  for (int bits = 0; bits < 0x10000; ++bits) {
    const int exponent = bits >> 10 & 31;
    const int fraction = bits & 1023;
    double x = exponent == 0 ? std::ldexp(fraction, -24)
                             : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) {
      x = fraction == 0 ? std::numeric_limits<double>::infinity()
                        : std::numeric_limits<double>::quiet_NaN();
    }
    all.push_back(std::copysign(x, bits < 0x8000 ? 1.0 : -1.0));
  }
  return all;
}

TEST_P(AccumulationTest, EveryF16StaysAsItIs) {
  std::vector<float> x;
  for (const double half : EveryF16()) x.push_back(static_cast<float>(half));
  std::vector<float> y = x;
  HWY_DYNAMIC_DISPATCH(RoundAllToF16)(y);
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_TRUE(SameBits(y[i], x[i])) << x[i] << " became " << y[i];
  }
}

// Between neighbours of the same sign: the tie, which goes to the even one, and
// the floats beside it. The neighbour of the largest is 2^16, which stands for
// infinity.
TEST_P(AccumulationTest, RoundsTiesToTheEvenF16AndTheRestToTheNearest) {
  const std::vector<double> halves = EveryF16();
  for (int bits = 0; bits < 0x7C00; ++bits) {
    const double lower = halves[bits];
    const double upper = bits + 1 < 0x7C00 ? halves[bits + 1] : 0x1p16;
    const float tie = static_cast<float>((lower + upper) / 2);
    ASSERT_EQ(tie, (lower + upper) / 2);
    const float even = static_cast<float>(halves[bits + bits % 2]);
    std::vector<float> x = {std::nextafter(tie, 0.0F), tie,
                            std::nextafter(tie, INFINITY)};
    for (size_t i = 0; i < 3; ++i) x.push_back(-x[i]);
    HWY_DYNAMIC_DISPATCH(RoundAllToF16)(x);
    for (const float sign : {1.0F, -1.0F}) {
      const float* y = x.data() + (sign > 0 ? 0 : 3);
      ASSERT_TRUE(SameBits(y[0], sign * static_cast<float>(lower))) << bits;
      ASSERT_TRUE(SameBits(y[1], sign * even)) << bits;
      ASSERT_TRUE(SameBits(y[2], sign * static_cast<float>(halves[bits + 1])))
          << bits;
    }
  }
}

// Every exponent and sign, with fractions around f16's last places.
TEST_P(AccumulationTest, RoundsToF16AsArithmeticDoes) {
  std::vector<float> x;
  for (uint32_t high = 0; high < 0x10000; ++high) {
    for (const uint32_t low : {0x0000u, 0x0001u, 0x0FFFu, 0x1000u, 0x1001u,
                               0x2FFFu, 0x3000u, 0xFFFFu}) {
      x.push_back(FloatOf(high << 16 | low));
    }
  }
  std::vector<float> y = x;
  HWY_DYNAMIC_DISPATCH(RoundAllToF16)(y);
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) {
      ASSERT_TRUE(std::isnan(y[i]));
      ASSERT_NE(FloatBits(y[i]) & 0x00400000, 0u) << "a signaling NaN";
    } else {
      ASSERT_TRUE(SameBits(y[i], Rounded(Format::kF16, x[i])))
          << x[i] << " became " << y[i];
    }
  }
}

TEST_P(AccumulationTest, RoundsNamedValuesToF16) {
  const float infinity = std::numeric_limits<float>::infinity();
  const struct {
    float x, rounded;
  } kCases[] = {
      {1.0F, 1.0F},
      {0x1.002p0F, 0x1.0p0F},       // a tie, down to even
      {0x1.006p0F, 0x1.008p0F},     // a tie, up to even
      {0x1.002002p0F, 0x1.004p0F},  // just above the tie
      {65504.0F, 65504.0F},         // the largest f16
      {65519.996F, 65504.0F},
      {65520.0F, infinity},
      {-1e30F, -infinity},
      {0x1p-14F, 0x1p-14F},      // the least normal f16
      {0x1.ffcp-15F, 0x1p-14F},  // a tie, up to it
      {0x1p-24F, 0x1p-24F},      // the least f16
      {0x1p-25F, 0.0F},          // a tie, to even
      {0x1.000002p-25F, 0x1p-24F},
      {0x1.8p-24F, 0x1p-23F},
      {-0x1p-149F, -0.0F},
      {infinity, infinity},
  };
  for (const auto& test : kCases) {
    std::vector<float> x = {test.x};
    HWY_DYNAMIC_DISPATCH(RoundAllToF16)(x);
    EXPECT_TRUE(SameBits(x[0], test.rounded)) << test.x << " became " << x[0];
  }
}

TEST_P(AccumulationTest, RoundsNamedValuesToBF16) {
  const float infinity = std::numeric_limits<float>::infinity();
  const struct {
    float x, rounded;
  } kCases[] = {
      {1.0F, 1.0F},
      {0x1.01p0F, 0x1.0p0F},       // a tie, down to even
      {0x1.03p0F, 0x1.04p0F},      // a tie, up to even
      {0x1.010002p0F, 0x1.02p0F},  // just above the tie
      {0x1.ffp0F, 0x1.0p1F},       // up into the next binade
      {0x1.fep127F, 0x1.fep127F},  // the largest bf16
      {0x1.fefffep127F, 0x1.fep127F},
      {0x1.ffp127F, infinity},
      {-0x1.fffffep127F, -infinity},
      {0x1p-133F, 0x1p-133F},  // the least bf16
      {0x1p-134F, 0.0F},       // a tie, to even
      {0x1.8p-134F, 0x1p-133F},
      {-0x1p-149F, -0.0F},
      {infinity, infinity},
  };
  for (const auto& test : kCases) {
    std::vector<float> x = {test.x};
    HWY_DYNAMIC_DISPATCH(RoundAllToBF16)(x);
    EXPECT_TRUE(SameBits(x[0], test.rounded)) << test.x << " became " << x[0];
  }
}

}  // namespace
}  // namespace ulpscope
#endif  // HWY_ONCE
