#include "kernels/ops/rmsnorm.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kEps = 1e-6;

std::vector<double> Draw(size_t count, Random& random) {
  std::vector<double> x;
  for (size_t i = 0; i < count; ++i) {
    x.push_back(random.Gaussian() * (1 + 0x1p-30));
  }
  return x;
}

class RmsNormTest : public KernelTest {
 protected:
  static std::vector<double> Expected(absl::Span<const double> x,
                                      absl::Span<const double> weight,
                                      double eps) {
    return TextbookRmsNorm(*FindTextbook(strategy().name()), x, weight, eps);
  }

  void Run(Matrix<const double> x, const std::vector<double>& weight,
           Matrix<double> y, size_t threads = 1,
           Matrix<const double> carry = {}) {
    Parallel parallel(threads);
    RmsNormArgs args;
    args.x = x;
    args.carry = carry;
    args.weight = weight.data();
    args.eps = kEps;
    args.y = y;
    RmsNorm(strategy(), args, parallel);
  }

  // One row, apart and in place.
  void Compare(const std::vector<double>& x,
               const std::vector<double>& weight) {
    const size_t n = x.size();
    const std::vector<double> expected =
        Expected(std::vector<double>(x.begin(), x.end()), weight, kEps);
    std::vector<double> y(n);
    Run(Matrix<const double>(x.data(), 1, n), weight,
        Matrix<double>(y.data(), 1, n));
    EXPECT_TRUE(HasBits<double>(y, expected)) << "n=" << n;
    y = x;
    Run(Matrix<double>(y.data(), 1, n), weight, Matrix<double>(y.data(), 1, n));
    EXPECT_TRUE(HasBits<double>(y, expected)) << "in place, n=" << n;
  }

  void CompareAllSizes() {
    Random random(1);
    for (size_t n = 1; n <= 70; ++n) {
      const std::vector<double> x = Draw(n, random);
      Compare(x, Draw(n, random));
    }
    // 16 lanes x 32 and x 64 terms are where blocks end; 7040 are 7 blocks.
    for (const size_t n :
         {511, 513, 896, 1023, 1025, 2049, 7040, 16383, 16384}) {
      const std::vector<double> x = Draw(n, random);
      Compare(x, Draw(n, random));
    }
  }
};

TEST_P(RmsNormTest, HasTheTextbooksBits) { CompareAllSizes(); }

TEST_P(RmsNormTest, EpsilonKeepsZerosFinite) {
  const std::vector<double> x(40, 0.0);
  const std::vector<double> weight(40, 3.0);
  std::vector<double> y(40, -1.0);
  Run(Matrix<const double>(x.data(), 1, 40), weight,
      Matrix<double>(y.data(), 1, 40));
  EXPECT_EQ(y, x);
}

// What the residual's addition rounded off is read by the strategies that say
// so, and by no other.
TEST_P(RmsNormTest, CarriesOfRows) {
  Random random(3);
  constexpr size_t kRows = 5, kCols = 37, kStride = 41;
  const std::vector<double> x = Draw(kRows * kStride, random);
  std::vector<double> carry = Draw(kRows * kStride, random);
  for (double& value : carry) value *= 0x1p-9;
  const std::vector<double> weight = Draw(kCols, random);
  std::vector<double> y(kRows * kCols);
  Run({x.data(), kRows, kCols, kStride}, weight, {y.data(), kRows, kCols}, 2,
      {carry.data(), kRows, kCols, kStride});
  const Textbook& t = *FindTextbook(strategy().name());
  EXPECT_EQ(t.reads_carry, info().reads_carry);
  for (size_t r = 0; r < kRows; ++r) {
    const auto row = absl::MakeConstSpan(x).subspan(r * kStride, kCols);
    const auto left = absl::MakeConstSpan(carry).subspan(r * kStride, kCols);
    EXPECT_TRUE(
        HasBits<double>(absl::MakeConstSpan(y).subspan(r * kCols, kCols),
                        TextbookRmsNorm(t, row, weight, kEps, left)))
        << r;
  }
}

TEST_P(RmsNormTest, RowsStridesAndThreads) {
  Random random(2);
  constexpr size_t kRows = 5, kCols = 37, kStrideX = 41, kStrideY = 50;
  const std::vector<double> x = Draw(kRows * kStrideX, random);
  const std::vector<double> weight = Draw(kCols, random);
  std::vector<double> expected(kRows * kStrideY, -1.0);
  for (size_t r = 0; r < kRows; ++r) {
    const std::vector<double> row = Expected(
        absl::MakeConstSpan(x).subspan(r * kStrideX, kCols), weight, kEps);
    for (size_t i = 0; i < kCols; ++i) expected[r * kStrideY + i] = row[i];
  }
  for (const size_t threads : {1, 2, 3}) {
    std::vector<double> y(kRows * kStrideY, -1.0);
    Run(Matrix<const double>(x.data(), kRows, kCols, kStrideX), weight,
        Matrix<double>(y.data(), kRows, kCols, kStrideY), threads);
    EXPECT_TRUE(HasBits<double>(y, expected)) << threads << " threads";
  }
}

// Enough values for several tasks: rows are taken several at a time, but for
// those that are left over.
TEST_P(RmsNormTest, ManyRowsHaveTheBitsOfOne) {
  Random random(4);
  constexpr size_t kRows = 67, kCols = 301;
  const std::vector<double> x = Draw(kRows * kCols, random);
  const std::vector<double> weight = Draw(kCols, random);
  std::vector<double> expected;
  for (size_t r = 0; r < kRows; ++r) {
    const std::vector<double> row = Expected(
        absl::MakeConstSpan(x).subspan(r * kCols, kCols), weight, kEps);
    expected.insert(expected.end(), row.begin(), row.end());
  }
  for (const size_t threads : {1, 3}) {
    std::vector<double> y(kRows * kCols);
    Run(Matrix<const double>(x.data(), kRows, kCols), weight,
        Matrix<double>(y.data(), kRows, kCols), threads);
    EXPECT_TRUE(HasBits<double>(y, expected)) << threads << " threads";
    y = x;
    const Matrix<double> in_place(y.data(), kRows, kCols);
    Run(in_place, weight, in_place, threads);
    EXPECT_TRUE(HasBits<double>(y, expected)) << threads << " threads";
  }
}

// NaN makes all of its row NaN. An infinite x makes the sum of squares infinite
// (in a compensated sum NaN), so that nothing of the row is a normal number.
TEST_P(RmsNormTest, NonFiniteValuesStayInTheirRow) {
  Random random(3);
  for (const double bad : {std::nan(""), kInfinity}) {
    for (const size_t at : {0, 7, 16, 32, 44}) {
      std::vector<double> x = Draw(3 * 45, random);
      x[45 + at] = bad;
      const std::vector<double> weight(45, 1.0);
      std::vector<double> y(x.size());
      Run(Matrix<const double>(x.data(), 3, 45), weight,
          Matrix<double>(y.data(), 3, 45));
      for (size_t i = 0; i < y.size(); ++i) {
        if (i / 45 == 1 && (std::isnan(bad) || i == 45 + at)) {
          EXPECT_TRUE(std::isnan(y[i])) << bad << " at " << at;
        } else if (i / 45 == 1) {
          EXPECT_TRUE(std::isnan(y[i]) || y[i] == 0) << bad << " at " << at;
        } else {
          EXPECT_TRUE(std::isfinite(y[i]));
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, RmsNormTest, testing::ValuesIn(StrategiesOnTargets(Kernel::kRmsNorm)),
    NameOf);

}  // namespace
}  // namespace ulpscope
