#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/vector_exp.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// As kernels/ops/exp-inl.h says.
constexpr double kBoundF32 = 1.04;
constexpr double kBoundF64 = 1.1;

float FloatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

// Every 61st float of [-104, 0] and of [0, 88.72]: a stride that is no power
// of 2 meets every last digit. The hardest of all is among them by name.
std::vector<float> SampledFloats() {
  std::vector<float> x = {-5.88269186F, 26.6952209F, 0.0F, -0.0F};
  for (const uint32_t sign : {0u, 0x80000000u}) {
    for (uint32_t bits = 0x30000000;; bits += 61) {
      const float value = FloatOf(bits | sign);
      if (value > 88.72F || value < -104.0F) break;
      x.push_back(value);
    }
  }
  return x;
}

std::vector<double> SampledDoubles() {
  std::vector<double> x = {0.0, -0.0, 1.0, -1.0};
  Random random(1);
  for (int i = 0; i < 100000; ++i) {
    x.push_back(random.Uniform(-746.0, 709.78));
    x.push_back(random.Uniform(-1.0, 1.0));
    x.push_back(random.Uniform(-746.0, -708.0));  // subnormal results
  }
  return x;
}

// |result - e^x| in ULPs of a type of `precision` bits and subnormal spacing
// 2^lowest.
long double ErrorInUlps(long double result, long double exact, int precision,
                        int lowest) {
  int exponent;
  std::frexp(exact, &exponent);
  const long double ulp =
      std::ldexp(1.0L, std::max(exponent - precision, lowest));
  return std::fabs(result - exact) / ulp;
}

class ExpTest : public testing::TestWithParam<int64_t> {
 protected:
  ExpTest() : scoped_target_(GetParam()) {}

 private:
  ScopedTarget scoped_target_;
};

TEST_P(ExpTest, FloatsStayWithinTheBound) {
  const std::vector<float> x = SampledFloats();
  std::vector<float> y = x;
  VectorExp(absl::MakeSpan(y));
  long double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    // f64's own error is 2^-29 of a float's ULP.
    const double exact = std::exp(double{x[i]});
    const long double error = ErrorInUlps(y[i], exact, 24, -149);
    ASSERT_LE(error, kBoundF32) << "exp(" << x[i] << ")";
    worst = std::max(worst, error);
  }
  EXPECT_GT(worst, 1.03) << "the bound is larger than it has to be";
}

TEST_P(ExpTest, DoublesStayWithinTheBound) {
  if (std::numeric_limits<long double>::digits < 64) {
    GTEST_SKIP() << "long double cannot judge a double here";
  }
  const std::vector<double> x = SampledDoubles();
  std::vector<double> y = x;
  VectorExp(absl::MakeSpan(y));
  for (size_t i = 0; i < x.size(); ++i) {
    const long double exact = std::exp(static_cast<long double>(x[i]));
    ASSERT_LE(ErrorInUlps(y[i], exact, 53, -1074), kBoundF64)
        << "exp(" << x[i] << ")";
  }
}

TEST_P(ExpTest, ExponentialOfZeroIsOne) {
  std::vector<float> narrow = {0.0F, -0.0F};
  std::vector<double> wide = {0.0, -0.0};
  VectorExp(absl::MakeSpan(narrow));
  VectorExp(absl::MakeSpan(wide));
  EXPECT_EQ(narrow, (std::vector<float>{1.0F, 1.0F}));
  EXPECT_EQ(wide, (std::vector<double>{1.0, 1.0}));
}

TEST_P(ExpTest, NanStaysNanAndMinusInfinityGivesZero) {
  std::vector<float> narrow = {std::nanf(""), -kInfinity, -200.0F,
                               std::numeric_limits<float>::lowest()};
  std::vector<double> wide = {std::nan(""), -kInfinity, -2000.0,
                              std::numeric_limits<double>::lowest()};
  VectorExp(absl::MakeSpan(narrow));
  VectorExp(absl::MakeSpan(wide));
  EXPECT_TRUE(std::isnan(narrow[0]));
  EXPECT_TRUE(std::isnan(wide[0]));
  for (size_t i = 1; i < narrow.size(); ++i) {
    EXPECT_TRUE(SameBits(narrow[i], 0.0)) << i;
    EXPECT_TRUE(SameBits(wide[i], 0.0)) << i;
  }
}

TEST_P(ExpTest, OverflowsToInfinity) {
  std::vector<float> narrow = {88.72284F, 89.0F, 104.0F};
  std::vector<double> wide = {709.79, 720.0, 1000.0};
  VectorExp(absl::MakeSpan(narrow));
  VectorExp(absl::MakeSpan(wide));
  for (size_t i = 0; i < narrow.size(); ++i) {
    EXPECT_EQ(narrow[i], kInfinity) << i;
    EXPECT_EQ(wide[i], kInfinity) << i;
  }
}

// What exponentials are taken of, with the ends of the kernels' ranges.
template <typename T>
std::vector<T> Arguments() {
  std::vector<T> x;
  if constexpr (sizeof(T) == 4) {
    x = SampledFloats();
  } else {
    x = SampledDoubles();
  }
  for (const double end : {86.0, 87.33, 88.73, 89.0, 103.97, 104.0, 700.0,
                           708.4, 709.79, 710.0, 745.14, 1000.0, 1e30}) {
    for (const double toward : {0.0, 1e300}) {
      const T value =
          std::nextafter(static_cast<T>(end), static_cast<T>(toward));
      x.insert(x.end(), {value, -value});
    }
    x.insert(x.end(), {static_cast<T>(end), static_cast<T>(-end)});
  }
  x.push_back(std::numeric_limits<T>::infinity());
  x.push_back(-std::numeric_limits<T>::infinity());
  x.push_back(std::numeric_limits<T>::quiet_NaN());
  return x;
}

template <typename T>
void CompareOfNonPositive() {
  std::vector<T> x;
  for (const T value : Arguments<T>()) {
    if (!(value > 0)) x.push_back(value);
  }
  std::vector<T> expected = x;
  std::vector<T> y = x;
  VectorExp(absl::MakeSpan(expected));
  VectorExpOfNonPositive(absl::MakeSpan(y));
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_TRUE(SameBits(y[i], expected[i])) << "exp(" << x[i] << ")";
  }
}

template <typename T>
void CompareOnePlus() {
  constexpr T kMost = sizeof(T) == 4 ? 104 : 1000;
  const std::vector<T> x = Arguments<T>();
  std::vector<T> expected;
  for (const T value : x) expected.push_back(value > kMost ? kMost : value);
  std::vector<T> y = x;
  VectorExp(absl::MakeSpan(expected));
  VectorOnePlusExp(absl::MakeSpan(y));
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_TRUE(SameBits(y[i], T{1} + expected[i])) << "1+exp(" << x[i] << ")";
  }
}

TEST_P(ExpTest, OfNonPositiveHasTheSameBits) {
  CompareOfNonPositive<float>();
  CompareOfNonPositive<double>();
}

TEST_P(ExpTest, OnePlusHasTheSameBits) {
  CompareOnePlus<float>();
  CompareOnePlus<double>();
}

// Every 61st float and the hardest, which exp-inl.h names; from 2^-150 to
// infinity.
TEST_P(ExpTest, PowersOf2StayWithinTheBound) {
  std::vector<float> x = {-0.492204994F, 0.0F, -0.0F, 0.5F, -0.5F};
  for (const uint32_t sign : {0u, 0x80000000u}) {
    for (uint32_t bits = 0x30000000;; bits += 61) {
      const float value = FloatOf(bits | sign);
      if (value >= 128 || value < -151) break;
      x.push_back(value);
    }
  }
  std::vector<float> y = x;
  VectorExp2(absl::MakeSpan(y));
  long double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp2(double{x[i]});
    const long double error = ErrorInUlps(y[i], exact, 24, -149);
    ASSERT_LE(error, kBoundF32) << "2^" << x[i];
    worst = std::max(worst, error);
  }
  EXPECT_GT(worst, 1.02) << "the bound is larger than it has to be";
}

TEST_P(ExpTest, PowersOf2OfDoublesStayWithinTheBound) {
  if (std::numeric_limits<long double>::digits < 64) {
    GTEST_SKIP() << "long double cannot judge a double here";
  }
  std::vector<double> x;
  Random random(3);
  for (int i = 0; i < 100000; ++i) {
    x.push_back(random.Uniform(-1076.0, 1023.99));
    x.push_back(random.Uniform(-0.5, 0.5));
    x.push_back(random.Uniform(-1076.0, -1021.0));  // subnormal results
  }
  std::vector<double> y = x;
  VectorExp2(absl::MakeSpan(y));
  for (size_t i = 0; i < x.size(); ++i) {
    const long double exact = std::exp2(static_cast<long double>(x[i]));
    ASSERT_LE(ErrorInUlps(y[i], exact, 53, -1074), kBoundF64) << "2^" << x[i];
  }
}

template <typename T>
void CheckEndsOfPowersOf2() {
  constexpr T kInf = std::numeric_limits<T>::infinity();
  constexpr T kHuge = std::numeric_limits<T>::max();
  std::vector<T> x = {kInf, kHuge, sizeof(T) == 4 ? T{128} : T{1024}};
  VectorExp2(absl::MakeSpan(x));
  for (const T value : x) EXPECT_EQ(value, kInf);
  x = {-kInf, -kHuge, sizeof(T) == 4 ? T{-151} : T{-1076}};
  VectorExp2(absl::MakeSpan(x));
  for (const T value : x) EXPECT_TRUE(SameBits(value, 0.0));
  x = {std::numeric_limits<T>::quiet_NaN()};
  VectorExp2(absl::MakeSpan(x));
  EXPECT_TRUE(std::isnan(x[0]));
  // Powers of 2 are exact, subnormal ones as well.
  for (int q = sizeof(T) == 4 ? -149 : -1074; q < (sizeof(T) == 4 ? 128 : 1024);
       ++q) {
    x = {static_cast<T>(q)};
    VectorExp2(absl::MakeSpan(x));
    ASSERT_EQ(x[0], std::ldexp(T{1}, q)) << q;
  }
}

TEST_P(ExpTest, PowersOf2AtTheEnds) {
  CheckEndsOfPowersOf2<float>();
  CheckEndsOfPowersOf2<double>();
}

TEST_P(ExpTest, LogarithmsStayWithinAnUlp) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x = {1.27938521F};
  for (uint32_t bits = 1; bits < 0x7F800000; bits += 997) {
    x.push_back(FloatOf(bits));
  }
  std::vector<float> y = x;
  VectorLog(absl::MakeSpan(y));
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_LE(ErrorInUlps(y[i], std::log(double{x[i]}), 24, -149), 1)
        << "log " << x[i];
  }
  x = {0.0F, -0.0F, kInfinity, -1.0F, -kInfinity, kNan};
  VectorLog(absl::MakeSpan(x));
  EXPECT_EQ(x[0], -kInfinity);
  EXPECT_EQ(x[1], -kInfinity);
  EXPECT_EQ(x[2], kInfinity);
  for (size_t i = 3; i < x.size(); ++i) EXPECT_TRUE(std::isnan(x[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(All, ExpTest, testing::ValuesIn(RunnableTargets()),
                         NameOfTarget);

// f, in place, on every target.
template <typename T>
void CompareTargets(const std::vector<T>& x, void (*f)(absl::Span<T>)) {
  std::vector<double> first;
  for (const int64_t target : RunnableTargets()) {
    const ScopedTarget scoped_target(target);
    std::vector<T> y = x;
    f(absl::MakeSpan(y));
    if (first.empty()) first.assign(y.begin(), y.end());
    EXPECT_TRUE(HasBits<T>(y, first)) << hwy::TargetName(target);
  }
}

TEST(ExpOnAllTargetsTest, PowersOf2AndLogarithmsHaveTheSameBits) {
  CompareTargets<float>(Arguments<float>(), &VectorExp2);
  CompareTargets<double>(Arguments<double>(), &VectorExp2);
  CompareTargets<float>(Arguments<float>(), &VectorLog);
  CompareTargets<double>(Arguments<double>(), &VectorLog);
}

TEST(ExpOnAllTargetsTest, HasTheSameBits) {
  const std::vector<float> x = SampledFloats();
  const std::vector<double> wide_x = SampledDoubles();
  std::vector<float> first;
  std::vector<double> wide_first;
  for (const int64_t target : RunnableTargets()) {
    const ScopedTarget scoped_target(target);
    std::vector<float> y = x;
    std::vector<double> wide_y = wide_x;
    VectorExp(absl::MakeSpan(y));
    VectorExp(absl::MakeSpan(wide_y));
    if (first.empty()) {
      first = y;
      wide_first = wide_y;
    }
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_TRUE(SameBits(y[i], first[i])) << x[i];
    }
    EXPECT_TRUE(HasBits<double>(wide_y, wide_first));
  }
}

}  // namespace
}  // namespace ulpscope
