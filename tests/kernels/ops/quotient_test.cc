// Quotients by one divisor are those of the division.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/strategy/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/ops/quotient_test.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/ops/quotient-inl.h"
#include "kernels/strategy/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {

template <typename T>
void Quotients(const std::vector<T>& a, T b, std::vector<T>& q) {
  const Divisor<T> divisor(b);
  ForEachVector<T>(a.size(), [&](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = LoadSome(d, a.data() + i, left...);
    StoreSome(d, Quotient(d, v, divisor), q.data() + i, left...);
  });
}

void QuotientsF32(const std::vector<float>& a, float b, std::vector<float>& q) {
  Quotients(a, b, q);
}
void QuotientsF64(const std::vector<double>& a, double b,
                  std::vector<double>& q) {
  Quotients(a, b, q);
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(QuotientsF32);
HWY_EXPORT(QuotientsF64);

namespace {

void Divide(const std::vector<float>& a, float b, std::vector<float>& q) {
  HWY_DYNAMIC_DISPATCH(QuotientsF32)(a, b, q);
}
void Divide(const std::vector<double>& a, double b, std::vector<double>& q) {
  HWY_DYNAMIC_DISPATCH(QuotientsF64)(a, b, q);
}

// Where reciprocals are hardest to round: next to powers of 2; and any.
template <typename T>
std::vector<T> Divisors() {
  Random random(1);
  std::vector<T> b;
  for (int exponent = 0; exponent <= 29; ++exponent) {
    T above = static_cast<T>(std::ldexp(1.0, exponent));
    T below = std::nextafter(2 * above, T{0});
    for (int i = 0; i < 8; ++i) {
      b.insert(b.end(), {above, below});
      b.push_back(
          static_cast<T>(std::ldexp(random.Uniform(1.0, 2.0), exponent)));
      above = std::nextafter(above, std::numeric_limits<T>::max());
      below = std::nextafter(below, T{0});
    }
  }
  return b;
}

// Dividends from 1 down to the subnormals, and those whose quotient by b is at
// or next to a number halfway between two others.
template <typename T>
std::vector<T> Dividends(T b, Random& random) {
  constexpr int kLeast =
      std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits;
  constexpr T kHalfUlp = std::numeric_limits<T>::epsilon() / 4;
  std::vector<T> a = {0, 1, std::numeric_limits<T>::quiet_NaN(),
                      std::numeric_limits<T>::min(),
                      std::numeric_limits<T>::denorm_min()};
  for (int i = 0; i < 400; ++i) {
    // Three in four are not small.
    const int low = i % 4 == 0 ? kLeast : kLeast / 2;
    a.push_back(static_cast<T>(std::ldexp(
        random.Uniform(0.5, 1.0),
        -static_cast<int>(random.Below(static_cast<uint64_t>(-low))))));
    const T q = static_cast<T>(random.Uniform(0.5, 1.0));
    T near = q * b + b * kHalfUlp;
    while (near > 1) near /= 2;
    a.insert(a.end(), {near, std::nextafter(near, T{0})});
    // A quotient halfway between subnormal numbers, or next to it.
    const int units = static_cast<int>(random.Below(i % 2 == 0 ? 4 : 1 << 22));
    const T halfway = static_cast<T>(
        std::ldexp((units + 0.5) * static_cast<double>(b), kLeast));
    a.insert(a.end(), {halfway, std::nextafter(halfway, T{0}),
                       std::nextafter(halfway, T{1})});
  }
  return a;
}

class QuotientTest : public testing::TestWithParam<int64_t> {
 protected:
  QuotientTest() : scoped_target_(GetParam()) {}

  template <typename T>
  static void CompareWithDivision() {
    Random random(2);
    size_t products_differ = 0;
    for (const T b : Divisors<T>()) {
      const std::vector<T> a = Dividends(b, random);
      std::vector<T> q(a.size());
      Divide(a, b, q);
      const T reciprocal = 1 / b;
      for (size_t i = 0; i < a.size(); ++i) {
        const T expected = a[i] / b;
        ASSERT_TRUE(SameBits(q[i], expected)) << a[i] << " / " << b;
        const T product = a[i] * reciprocal;
        products_differ += !SameBits(product, expected);
      }
    }
    EXPECT_GT(products_differ, 1000u) << "nothing here is hard to round";
  }

 private:
  ScopedTarget scoped_target_;
};

TEST_P(QuotientTest, HasTheBitsOfTheDivision) {
  CompareWithDivision<float>();
  CompareWithDivision<double>();
}

// A softmax's sum is NaN where one of its terms is.
TEST_P(QuotientTest, NanDividesToNan) {
  const std::vector<float> a = {0.0F, 0.5F, 1.0F, 1e-40F};
  std::vector<float> q(a.size());
  Divide(a, std::nanf(""), q);
  for (const float value : q) EXPECT_TRUE(std::isnan(value));
}

INSTANTIATE_TEST_SUITE_P(All, QuotientTest,
                         testing::ValuesIn(RunnableTargets()), NameOfTarget);

}  // namespace
}  // namespace ulpscope
#endif  // HWY_ONCE
