#include "kernels/ops/softmax.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/ops/vector_exp.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> Logits(size_t count, double scale, Random& random) {
  std::vector<double> x;
  for (size_t i = 0; i < count; ++i) {
    x.push_back(scale * random.Gaussian() * (1 + 0x1p-30));
  }
  return x;
}

class SoftmaxTest : public KernelTest {
 protected:
  // The textbook's softmax of the exponentials that kernels compute, which
  // exp_test judges.
  std::vector<double> Expected(absl::Span<const double> x) const {
    const Textbook& t = *FindTextbook(strategy().name());
    std::vector<double> exps = TextbookLogits(t, x);
    if (t.lane == Format::kF64) {
      VectorExp(absl::MakeSpan(exps));
      return TextbookSoftmax(t, exps);
    }
    std::vector<float> narrow(exps.begin(), exps.end());
    VectorExp(absl::MakeSpan(narrow));
    return TextbookSoftmax(t,
                           std::vector<double>(narrow.begin(), narrow.end()));
  }

  // One row, apart and in place.
  void Compare(const std::vector<double>& x) {
    const size_t n = x.size();
    const std::vector<double> expected =
        Expected(std::vector<double>(x.begin(), x.end()));
    std::vector<double> y(n);
    Softmax(strategy(), Matrix<const double>(x.data(), 1, n),
            Matrix<double>(y.data(), 1, n));
    EXPECT_TRUE(HasBits<double>(y, expected)) << "n=" << n;
    y = x;
    Softmax(strategy(), Matrix<double>(y.data(), 1, n),
            Matrix<double>(y.data(), 1, n));
    EXPECT_TRUE(HasBits<double>(y, expected)) << "in place, n=" << n;
  }

  void CompareAllSizes() {
    Random random(1);
    for (size_t n = 1; n <= 70; ++n) Compare(Logits(n, 3, random));
    for (const size_t n : {511, 513, 1500, 7040, 16383, 16384, 40000}) {
      Compare(Logits(n, 1, random));
    }
    Compare(Logits(100, 60, random));  // most exponentials underflow
  }
};

TEST_P(SoftmaxTest, HasTheTextbooksBits) { CompareAllSizes(); }

TEST_P(SoftmaxTest, OneScoreHasAllTheWeight) {
  for (const double x : {0.0, -1e30, 1e30, 123.456}) {
    double y = 0;
    Softmax(strategy(), Matrix<const double>(&x, 1, 1),
            Matrix<double>(&y, 1, 1));
    if (std::isinf(Rounded(info().operand, x))) {
      EXPECT_TRUE(std::isnan(y)) << "as an infinite score has, " << x;
    } else {
      EXPECT_EQ(y, 1.0) << x;
    }
  }
}

TEST_P(SoftmaxTest, RowsAreIndependentAndStridesAreKept) {
  Random random(2);
  constexpr size_t kRows = 4, kCols = 37, kStrideX = 41, kStrideY = 50;
  const std::vector<double> x = Logits(kRows * kStrideX, 3, random);
  std::vector<double> expected(kRows * kStrideY, -1.0);
  for (size_t r = 0; r < kRows; ++r) {
    const std::vector<double> row =
        Expected(absl::MakeConstSpan(x).subspan(r * kStrideX, kCols));
    for (size_t i = 0; i < kCols; ++i) expected[r * kStrideY + i] = row[i];
  }
  std::vector<double> y(kRows * kStrideY, -1.0);
  Softmax(strategy(), Matrix<const double>(x.data(), kRows, kCols, kStrideX),
          Matrix<double>(y.data(), kRows, kCols, kStrideY));
  EXPECT_TRUE(HasBits<double>(y, expected));
}

TEST_P(SoftmaxTest, MinusInfinityHasNoWeight) {
  Random random(3);
  std::vector<double> x = Logits(45, 3, random);
  for (const size_t i : {0, 16, 31, 44}) x[i] = -kInfinity;
  Compare(x);
  std::vector<double> y(x.size());
  Softmax(strategy(), Matrix<const double>(x.data(), 1, x.size()),
          Matrix<double>(y.data(), 1, x.size()));
  for (const size_t i : {0, 16, 31, 44}) EXPECT_EQ(y[i], 0.0);
}

TEST_P(SoftmaxTest, NanAndInfinityMakeTheirRowNan) {
  Random random(4);
  for (const double bad : {std::nan(""), kInfinity}) {
    for (const size_t at : {0, 7, 16, 32, 44}) {
      std::vector<double> x = Logits(3 * 45, 3, random);
      x[45 + at] = bad;
      std::vector<double> y(x.size());
      Softmax(strategy(), Matrix<const double>(x.data(), 3, 45),
              Matrix<double>(y.data(), 3, 45));
      for (size_t i = 0; i < y.size(); ++i) {
        EXPECT_EQ(std::isnan(y[i]), i / 45 == 1) << bad << " at " << at;
      }
    }
  }
}

TEST_P(SoftmaxTest, NothingAboveMinusInfinityGivesNan) {
  for (const size_t n : {1, 5, 40}) {
    const std::vector<double> x(n, -kInfinity);
    std::vector<double> y(n);
    Softmax(strategy(), Matrix<const double>(x.data(), 1, n),
            Matrix<double>(y.data(), 1, n));
    for (const double value : y) EXPECT_TRUE(std::isnan(value));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SoftmaxTest, testing::ValuesIn(StrategiesOnTargets(Kernel::kSoftmax)),
    NameOf);

}  // namespace
}  // namespace ulpscope
