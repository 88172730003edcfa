#include "kernels/ops/elementwise.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/ops/vector_exp.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> Draw(size_t count, double scale, Random& random) {
  std::vector<double> x;
  for (size_t i = 0; i < count; ++i) {
    x.push_back(scale * random.Gaussian() * (1 + 0x1p-30));
  }
  return x;
}

class ElementwiseTest : public KernelTest {
 protected:
  const Textbook& textbook() const { return *FindTextbook(strategy().name()); }

  // exp(-gate) as the strategy's lanes compute it.
  double ExpOfMinus(double gate) const {
    const double x = -Rounded(textbook().operand, gate);
    if (textbook().lane == Format::kF64) {
      double y[] = {x};
      VectorExp(absl::MakeSpan(y));
      return y[0];
    }
    float y[] = {static_cast<float>(x)};
    VectorExp(absl::MakeSpan(y));
    return y[0];
  }

  std::vector<double> ExpectedSwiGlu(const std::vector<double>& gate,
                                     const std::vector<double>& up) const {
    std::vector<double> y;
    for (size_t i = 0; i < gate.size(); ++i) {
      y.push_back(
          TextbookSwiGlu(textbook(), gate[i], up[i], ExpOfMinus(gate[i])));
    }
    return y;
  }

  void CompareSwiGlu() {
    Random random(1);
    Parallel parallel;
    for (size_t n = 1; n <= 70; ++n) {
      const std::vector<double> gate = Draw(n, 10, random);
      const std::vector<double> up = Draw(n, 1, random);
      const std::vector<double> expected = ExpectedSwiGlu(gate, up);
      std::vector<double> y(n);
      SwiGlu(strategy(), Matrix<const double>(gate.data(), 1, n),
             Matrix<const double>(up.data(), 1, n),
             Matrix<double>(y.data(), 1, n), parallel);
      EXPECT_TRUE(HasBits<double>(y, expected)) << "n=" << n;
      std::vector<double> in_gate = gate;
      const Matrix<double> over_gate(in_gate.data(), 1, n);
      SwiGlu(strategy(), over_gate, Matrix<const double>(up.data(), 1, n),
             over_gate, parallel);
      EXPECT_TRUE(HasBits<double>(in_gate, expected)) << "in gate, n=" << n;
      std::vector<double> in_up = up;
      const Matrix<double> over_up(in_up.data(), 1, n);
      SwiGlu(strategy(), Matrix<const double>(gate.data(), 1, n), over_up,
             over_up, parallel);
      EXPECT_TRUE(HasBits<double>(in_up, expected)) << "in up, n=" << n;
    }
  }

  void CompareRope() {
    Random random(2);
    constexpr size_t kRows = 3;
    for (size_t half = 1; half <= 70; ++half) {
      const size_t stride = 2 * half + 5;
      std::vector<double> cos, sin;
      for (size_t i = 0; i < half; ++i) {
        const double angle = random.Uniform(0, 1000);
        cos.push_back(std::cos(angle));
        sin.push_back(std::sin(angle));
      }
      std::vector<double> x = Draw(kRows * stride, 3, random);
      std::vector<double> expected(x.begin(), x.end());
      for (size_t r = 0; r < kRows; ++r) {
        TextbookRope(textbook(), cos, sin,
                     absl::MakeSpan(expected).subspan(r * stride, 2 * half));
      }
      Rope(strategy(), cos.data(), sin.data(),
           Matrix<double>(x.data(), kRows, 2 * half, stride));
      EXPECT_TRUE(HasBits<double>(x, expected)) << "half=" << half;
    }
  }

  void CompareRoundRow() {
    Random random(3);
    for (size_t n = 1; n <= 70; ++n) {
      const std::vector<double> x = Draw(n, 1, random);
      std::vector<double> expected;
      for (const double value : x) {
        expected.push_back(
            Rounded(info().result, Rounded(info().operand, value)));
      }
      std::vector<double> y(n);
      RoundRow(strategy(), x.data(), n, y.data());
      EXPECT_TRUE(HasBits<double>(y, expected)) << "n=" << n;
    }
  }
};

TEST_P(ElementwiseTest, SwiGluHasTheTextbooksBits) { CompareSwiGlu(); }

TEST_P(ElementwiseTest, RopeHasTheTextbooksBits) { CompareRope(); }

TEST_P(ElementwiseTest, RoundRowRoundsToOperandThenResult) {
  CompareRoundRow();
}

TEST_P(ElementwiseTest, SwiGluReadsStridesAndChangesNoBitWithThreads) {
  Random random(4);
  constexpr size_t kRows = 5, kCols = 21, kStride = 30;
  const std::vector<double> gate = Draw(kRows * kStride, 5, random);
  const std::vector<double> up = Draw(kRows * kStride, 1, random);
  const std::vector<double> all = ExpectedSwiGlu(gate, up);
  std::vector<double> expected(kRows * kStride, -1.0);
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t i = 0; i < kCols; ++i) {
      expected[r * kStride + i] = all[r * kStride + i];
    }
  }
  for (const size_t threads : {1, 2, 3}) {
    Parallel parallel(threads);
    std::vector<double> y(kRows * kStride, -1.0);
    SwiGlu(strategy(), Matrix<const double>(gate.data(), kRows, kCols, kStride),
           Matrix<const double>(up.data(), kRows, kCols, kStride),
           Matrix<double>(y.data(), kRows, kCols, kStride), parallel);
    EXPECT_TRUE(HasBits<double>(y, expected)) << threads << " threads";
  }
}

// silu(g) = g / (1 + exp(-g)) -> 0 from below; exp(-g) overflows on the way.
TEST_P(ElementwiseTest, SiluOfLargeNegativeGatesVanishes) {
  const std::vector<double> gate = {-90,  -104, -105,  -709,  -710,
                                    -999, -1e4, -1e30, -3e38, -kInfinity};
  const std::vector<double> up(gate.size(), 1.0);
  std::vector<double> y(gate.size());
  Parallel parallel;
  SwiGlu(strategy(), Matrix<const double>(gate.data(), 1, gate.size()),
         Matrix<const double>(up.data(), 1, gate.size()),
         Matrix<double>(y.data(), 1, gate.size()), parallel);
  for (size_t i = 0; i < gate.size(); ++i) {
    if (std::isinf(Rounded(textbook().operand, gate[i]))) {
      EXPECT_TRUE(std::isnan(y[i])) << "-inf / inf, of " << gate[i];
      continue;
    }
    // -g e^g grows with g for g < -1, so none is larger than the first.
    EXPECT_LE(y[i], 0.0) << gate[i];
    EXPECT_GE(y[i], gate[0] * std::exp(gate[0]) * 1.01) << gate[i];
  }
}

TEST_P(ElementwiseTest, NonFiniteValuesReachTheirOutputsOnly) {
  Parallel parallel;
  constexpr size_t kN = 37;
  for (const double bad : {kInfinity, std::nan("")}) {
    for (const size_t at : {size_t{0}, size_t{20}, kN - 1}) {
      std::vector<double> gate(kN, 0.5);
      const std::vector<double> up(kN, 2.0);
      gate[at] = bad;
      std::vector<double> y(kN);
      SwiGlu(strategy(), Matrix<const double>(gate.data(), 1, kN),
             Matrix<const double>(up.data(), 1, kN),
             Matrix<double>(y.data(), 1, kN), parallel);
      for (size_t i = 0; i < kN; ++i) {
        EXPECT_EQ(std::isfinite(y[i]), i != at) << i;
      }
      EXPECT_TRUE(SameBits(y[at], bad));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ElementwiseTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kElementwise)), NameOf);

}  // namespace
}  // namespace ulpscope
