#include "kernels/ops/store_heads.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/stored_textbook.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> Stored(Strategy strategy, const std::vector<double>& x) {
  std::vector<double> y(x.size(), -7);
  StoreHeads(strategy, Matrix<const double>(x.data(), 1, x.size()),
             Matrix<double>(y.data(), 1, x.size()));
  return y;
}

// Values of all sizes that keys have, no f32 but for some; ties; zeros of both
// signs; a few that are far larger than the rest, of both signs.
std::vector<double> Head(size_t n, double scale, Random& random) {
  std::vector<double> x;
  for (size_t i = 0; i < n; ++i) {
    double value = scale * random.Gaussian();
    switch (random.Below(12)) {
      case 0:
        value = scale * static_cast<double>(random.Below(9)) / 8;
        break;
      case 1:
        value *= 0x1p-9;
        break;
      case 2:
        value = std::copysign(0.0, value);
        break;
      case 3:
        value = std::copysign(4 * scale, value);
        break;
      case 4:
        value = std::ldexp(value, -static_cast<int>(random.Below(140)));
        break;
      default:
        break;
    }
    x.push_back(value);
  }
  return x;
}

class StoreHeadsTest : public KernelTest {};

TEST_P(StoreHeadsTest, HasTheTextbooksBits) {
  Random random(1);
  for (size_t n = 1; n <= 130; ++n) {
    for (const double scale :
         {1.0, 100.0, 1e-3, 3e4, 1e9, 1e-9, 1e-36, 1e-44}) {
      const std::vector<double> x = Head(n, scale, random);
      const std::vector<double> expected = TextbookStored(info().name, x);
      ASSERT_TRUE(HasBits<double>(Stored(strategy(), x), expected))
          << "n=" << n << " scale " << scale;
    }
  }
}

// Rows with a stride, and in place.
TEST_P(StoreHeadsTest, HeadsAreIndependentAndMayBeInPlace) {
  Random random(2);
  constexpr size_t kRows = 5, kStride = 80;
  for (const size_t n : {size_t{64}, size_t{40}, size_t{7}}) {
    std::vector<double> x = Head(kRows * kStride, 3, random);
    std::vector<double> expected = x;
    for (size_t r = 0; r < kRows; ++r) {
      const std::vector<double> head = TextbookStored(
          info().name, absl::MakeConstSpan(x).subspan(r * kStride, n));
      for (size_t i = 0; i < n; ++i) expected[r * kStride + i] = head[i];
    }
    const Matrix<double> heads(x.data(), kRows, n, kStride);
    StoreHeads(strategy(), heads, heads);
    EXPECT_TRUE(HasBits<double>(x, expected)) << n;
  }
}

TEST_P(StoreHeadsTest, ErrsWithinItsBound) {
  Random random(3);
  double largest = 0;
  for (size_t n = 1; n <= 130; n += 3) {
    for (const double scale : {1.0, 20.0, 0.01}) {
      std::vector<double> x = Head(n, scale, random);
      for (double& value : x) value = static_cast<float>(value);
      const std::vector<double> y = Stored(strategy(), x);
      for (size_t i = 0; i < n; ++i) {
        const double bound = StoredErrorBound(info().name, x, i);
        const double error = std::fabs(y[i] - x[i]);
        ASSERT_LE(error, bound) << x[i] << " became " << y[i];
        if (bound > 0) largest = std::max(largest, error / bound);
      }
    }
  }
  // And the bound is one: half of it is not.
  if (!StoresAsComputed(strategy())) {
    EXPECT_GT(largest, 0.5);
  }
}

TEST_P(StoreHeadsTest, StoringTwiceChangesNothingWhereEachValueIsAlone) {
  if (info().kv_codes != KvCodes::kNone && info().kv_codes != KvCodes::kE4M3) {
    return;
  }
  Random random(4);
  const std::vector<double> x = Head(200, 10, random);
  const std::vector<double> once = Stored(strategy(), x);
  EXPECT_TRUE(HasBits<double>(Stored(strategy(), once), once));
}

// NaN and infinities, alone and among others, of every place.
TEST_P(StoreHeadsTest, WhatIsNotFiniteIsAsTheHeaderSays) {
  Random random(5);
  constexpr size_t kN = 70;
  for (const double bad : {kNaN, -kNaN, kInfinity, -kInfinity, 1e39, -1e300}) {
    for (const size_t at : {size_t{0}, size_t{20}, size_t{33}, kN - 1}) {
      std::vector<double> x = Head(kN, 2, random);
      x[at] = bad;
      const std::vector<double> y = Stored(strategy(), x);
      EXPECT_TRUE(HasBits<double>(y, TextbookStored(info().name, x)));
      for (size_t i = 0; i < kN; ++i) {
        const bool shares_a_scale = info().kv_codes == KvCodes::kInt8 ||
                                    ((info().kv_codes == KvCodes::kQ8_0 ||
                                      info().kv_codes == KvCodes::kQ4_0) &&
                                     i / kKvBlock == at / kKvBlock);
        if (shares_a_scale) {
          EXPECT_TRUE(std::isnan(y[i])) << i;
        } else if (i != at) {
          EXPECT_TRUE(std::isfinite(y[i])) << i;
        } else if (std::isnan(bad)) {
          EXPECT_TRUE(std::isnan(y[i]));
        } else if (info().kv_codes == KvCodes::kE4M3) {
          EXPECT_EQ(y[i], std::copysign(448.0, bad));
        } else if (StoresAsComputed(strategy())) {
          EXPECT_EQ(y[i], bad);
        } else {
          EXPECT_EQ(y[i], std::copysign(kInfinity, bad));
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, StoreHeadsTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kKvCache)), NameOf);

class StoreHeadsNamedTest : public testing::TestWithParam<int64_t> {
 protected:
  static std::vector<double> StoredAs(const char* name,
                                      const std::vector<double>& x) {
    return Stored(FindStrategy(name, Kernel::kKvCache).value(), x);
  }

 private:
  const ScopedTarget scoped_target_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(All, StoreHeadsNamedTest,
                         testing::ValuesIn(RunnableTargets()), NameOfTarget);

TEST_P(StoreHeadsNamedTest, Fp8) {
  const std::vector<double> x = {
      1,      1.0625, 1.1875,  447,      449,       1e30,     -1e30, 464,
      0x1p-6, 0x1p-9, 0x1p-10, 0x1.8p-9, 0x1.4p-10, -0x1p-10, -0.0,  240.1};
  const std::vector<double> y = {1,      1,    1.25,   448,    448, 448,
                                 -448,   448,  0x1p-6, 0x1p-9, 0,   0x1p-8,
                                 0x1p-9, -0.0, -0.0,   240};
  EXPECT_TRUE(HasBits<double>(StoredAs("fp8", x), y));
}

TEST_P(StoreHeadsNamedTest, Int8) {
  // A scale of 1.
  EXPECT_TRUE(HasBits<double>(StoredAs("int8", {-127, 3.4, 0.5, 1.5, -0.2}),
                              {-127, 3, 0, 2, 0}));
  EXPECT_TRUE(HasBits<double>(StoredAs("int8", {0, -0.0}), {0, 0}));
}

TEST_P(StoreHeadsNamedTest, Q8) {
  // A scale of 1/2 in the first block, 2 in the second.
  std::vector<double> x(40, 0.3), y(40, 0.5);
  x[0] = 63.5;
  y[0] = 63.5;
  for (size_t i = 32; i < 40; ++i) y[i] = x[i] = 254 - 2.0 * (i - 32);
  EXPECT_TRUE(HasBits<double>(StoredAs("q8_0", x), y));
}

TEST_P(StoreHeadsNamedTest, Q4) {
  // The first of the largest magnitudes is negative: a step of 1.
  EXPECT_TRUE(HasBits<double>(
      StoredAs("q4_0", {0.4, -8, 8, 7.4, -7.4, -0.6, 3.5, -3.5}),
      {0, -8, 7, 7, -7, -1, 4, -3}));
  // Positive: a step of -1.
  EXPECT_TRUE(
      HasBits<double>(StoredAs("q4_0", {8, -8, 3.5, -3.5}), {8, -7, 3, -4}));
}

// 200000 / 127 and / -8 are within f16, 1e7 / 127 is not, nor 1e6 / 8.
TEST_P(StoreHeadsNamedTest, ScalesOverflowF16AsGgmlsDo) {
  const auto q8 = StoredAs("q8_0", {1e7, -1e7, 1});
  EXPECT_EQ(q8[0], kInfinity);
  EXPECT_EQ(q8[1], -kInfinity);
  EXPECT_TRUE(std::isnan(q8[2]));
  const auto q4 = StoredAs("q4_0", {1e6, -1e6, 1});
  EXPECT_EQ(q4[0], kInfinity);
  EXPECT_EQ(q4[1], -kInfinity);
  EXPECT_TRUE(std::isnan(q4[2]));
  for (const char* name : {"q8_0", "q4_0"}) {
    for (const double y : StoredAs(name, {2e5, -2e5, 1})) {
      EXPECT_TRUE(std::isfinite(y)) << name;
    }
  }
}

TEST(StoresAsComputedTest, TheFormatsThatKeepEveryBit) {
  std::string names;
  for (size_t i = 0; i < Strategies().size(); ++i) {
    if (!Strategy(i).Takes(Kernel::kKvCache)) continue;
    if (StoresAsComputed(Strategy(i)))
      names += Strategies()[i].name + std::string(" ");
  }
  EXPECT_EQ(names, "f32 f64 oracle ");
}

}  // namespace
}  // namespace ulpscope
