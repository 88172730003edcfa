// The row kernels touch nothing beyond a row's last value, whatever its length:
// results end where they should, and rows are read from memory that ends with
// them, which AddressSanitizer watches (--config=asan).
#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/residual.h"
#include "kernels/ops/rmsnorm.h"
#include "kernels/ops/softmax.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr size_t kLongest = 100;
constexpr size_t kGuards = 40;  // more than two vectors of any type
constexpr double kGuard = -123.0;

// Memory of n values exactly.
std::vector<double> Draw(size_t n, Random& random) {
  std::vector<double> x(n);
  for (double& value : x) value = random.Gaussian();
  return x;
}

// Room for n values, and guards after it.
class Guarded {
 public:
  explicit Guarded(size_t n) : n_(n), data_(n + kGuards, kGuard) {}

  double* data() { return data_.data(); }
  absl::Span<const double> values() const { return {data_.data(), n_}; }
  bool Intact() const {
    for (size_t i = n_; i < data_.size(); ++i) {
      if (data_[i] != kGuard) return false;
    }
    return true;
  }

 private:
  size_t n_;
  std::vector<double> data_;
};

class RowEdgesTest : public KernelTest {
 protected:
  // Calls run(x, y) with rows of every length: y is guarded, and its values
  // must be those that x gets in place.
  template <class Run>
  void ForAllLengths(const Run& run) {
    Random random(1);
    for (size_t n = 1; n <= kLongest; ++n) {
      std::vector<double> x = Draw(n, random);
      Guarded y(n);
      run(Matrix<const double>(x.data(), 1, n), Matrix<double>(y.data(), 1, n));
      EXPECT_TRUE(y.Intact()) << "n=" << n;
      const Matrix<double> in_place(x.data(), 1, n);
      run(in_place, in_place);
      EXPECT_EQ(absl::MakeConstSpan(x), y.values()) << "n=" << n;
    }
  }
};

class SoftmaxEdgesTest : public RowEdgesTest {
 protected:
  void Check() {
    ForAllLengths([](Matrix<const double> x, Matrix<double> y) {
      Softmax(strategy(), x, y);
    });
  }
};

TEST_P(SoftmaxEdgesTest, NothingBeyondARowIsTouched) { Check(); }

INSTANTIATE_TEST_SUITE_P(
    All, SoftmaxEdgesTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kSoftmax)), NameOf);

class RmsNormEdgesTest : public RowEdgesTest {
 protected:
  void Check() {
    ForAllLengths([](Matrix<const double> x, Matrix<double> y) {
      const std::vector<double> weight(x.cols, 0.75);
      Parallel serial;
      RmsNormArgs args;
      args.x = x;
      args.weight = weight.data();
      args.y = y;
      RmsNorm(strategy(), args, serial);
    });
  }
};

TEST_P(RmsNormEdgesTest, NothingBeyondARowIsTouched) { Check(); }

INSTANTIATE_TEST_SUITE_P(
    All, RmsNormEdgesTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kRmsNorm)), NameOf);

class ElementwiseEdgesTest : public RowEdgesTest {
 protected:
  void CheckSwiGlu() {
    ForAllLengths([](Matrix<const double> x, Matrix<double> y) {
      Random random(2);
      const std::vector<double> up = Draw(x.cols, random);
      Parallel serial;
      SwiGlu(strategy(), x, Matrix<const double>(up.data(), 1, x.cols), y,
             serial);
    });
  }

  void CheckRoundRow() {
    Random random(3);
    for (size_t n = 1; n <= kLongest; ++n) {
      const std::vector<double> x = Draw(n, random);
      Guarded y(n);
      RoundRow(strategy(), x.data(), n, y.data());
      EXPECT_TRUE(y.Intact()) << "n=" << n;
    }
  }

  // Two rows of 2 `half` values; what lies between and after them is guarded.
  void CheckRope() {
    Random random(4);
    for (size_t half = 1; half <= kLongest; ++half) {
      const std::vector<double> cos = Draw(half, random);
      const std::vector<double> sin = Draw(half, random);
      const size_t stride = 2 * half + kGuards;
      std::vector<double> x = Draw(stride + 2 * half, random);
      for (size_t i = 2 * half; i < stride; ++i) x[i] = kGuard;
      Rope(strategy(), cos.data(), sin.data(),
           Matrix<double>(x.data(), 2, 2 * half, stride));
      for (size_t i = 2 * half; i < stride; ++i) {
        ASSERT_EQ(x[i], kGuard) << "half=" << half;
      }
    }
  }
};

TEST_P(ElementwiseEdgesTest, SwiGluTouchesNothingBeyondARow) { CheckSwiGlu(); }

TEST_P(ElementwiseEdgesTest, RoundRowTouchesNothingBeyondARow) {
  CheckRoundRow();
}

TEST_P(ElementwiseEdgesTest, RopeTouchesNothingBeyondARow) { CheckRope(); }

INSTANTIATE_TEST_SUITE_P(
    All, ElementwiseEdgesTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kElementwise)), NameOf);

class ResidualEdgesTest : public RowEdgesTest {
 protected:
  void Check() {
    Random random(5);
    for (size_t n = 1; n <= kLongest; ++n) {
      const std::vector<double> update = Draw(n, random);
      Guarded stream(n);
      Guarded carry(n);
      AddResidual(strategy(), update.data(), n, stream.data(), carry.data());
      EXPECT_TRUE(stream.Intact()) << "n=" << n;
      EXPECT_TRUE(carry.Intact()) << "n=" << n;
    }
  }
};

TEST_P(ResidualEdgesTest, NothingBeyondTheStreamIsTouched) { Check(); }

INSTANTIATE_TEST_SUITE_P(
    All, ResidualEdgesTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kResidual)), NameOf);

}  // namespace
}  // namespace ulpscope
