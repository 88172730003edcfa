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
template <typename T>
std::vector<T> Draw(size_t n, Random& random) {
  std::vector<T> x(n);
  for (T& value : x) value = static_cast<T>(random.Gaussian());
  return x;
}

// Room for n values, and guards after it.
template <typename T>
class Guarded {
 public:
  explicit Guarded(size_t n) : n_(n), data_(n + kGuards, T{kGuard}) {}

  T* data() { return data_.data(); }
  absl::Span<const T> values() const { return {data_.data(), n_}; }
  bool Intact() const {
    for (size_t i = n_; i < data_.size(); ++i) {
      if (data_[i] != T{kGuard}) return false;
    }
    return true;
  }

 private:
  size_t n_;
  std::vector<T> data_;
};

class RowEdgesTest : public KernelTest {
 protected:
  // Calls run(x, y) with rows of every length: y is guarded, and its values
  // must be those that x gets in place.
  template <typename T, class Run>
  void ForAllLengths(const Run& run) {
    Random random(1);
    for (size_t n = 1; n <= kLongest; ++n) {
      std::vector<T> x = Draw<T>(n, random);
      Guarded<T> y(n);
      run(Matrix<const T>(x.data(), 1, n), Matrix<T>(y.data(), 1, n));
      EXPECT_TRUE(y.Intact()) << "n=" << n;
      const Matrix<T> in_place(x.data(), 1, n);
      run(in_place, in_place);
      EXPECT_EQ(absl::MakeConstSpan(x), y.values()) << "n=" << n;
    }
  }
};

class SoftmaxEdgesTest : public RowEdgesTest {
 protected:
  template <typename T>
  void Check() {
    ForAllLengths<T>(
        [](Matrix<const T> x, Matrix<T> y) { Softmax(strategy(), x, y); });
  }
};

TEST_P(SoftmaxEdgesTest, NothingBeyondARowIsTouched) {
  if (StoresFloat()) Check<float>();
  Check<double>();
}

INSTANTIATE_TEST_SUITE_P(
    All, SoftmaxEdgesTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kSoftmax)), NameOf);

class RmsNormEdgesTest : public RowEdgesTest {
 protected:
  template <typename T>
  void Check() {
    ForAllLengths<T>([](Matrix<const T> x, Matrix<T> y) {
      const std::vector<double> weight(x.cols, 0.75);
      Parallel serial;
      RmsNormArgs<T> args;
      args.x = x;
      args.weight = weight.data();
      args.y = y;
      RmsNorm(strategy(), args, serial);
    });
  }
};

TEST_P(RmsNormEdgesTest, NothingBeyondARowIsTouched) {
  if (StoresFloat()) Check<float>();
  Check<double>();
}

INSTANTIATE_TEST_SUITE_P(
    All, RmsNormEdgesTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kRmsNorm)), NameOf);

class ElementwiseEdgesTest : public RowEdgesTest {
 protected:
  template <typename T>
  void CheckSwiGlu() {
    ForAllLengths<T>([](Matrix<const T> x, Matrix<T> y) {
      Random random(2);
      const std::vector<T> up = Draw<T>(x.cols, random);
      Parallel serial;
      SwiGlu(strategy(), x, Matrix<const T>(up.data(), 1, x.cols), y, serial);
    });
  }

  template <typename T>
  void CheckRoundRow() {
    Random random(3);
    for (size_t n = 1; n <= kLongest; ++n) {
      const std::vector<double> x = Draw<double>(n, random);
      Guarded<T> y(n);
      RoundRow(strategy(), x.data(), n, y.data());
      EXPECT_TRUE(y.Intact()) << "n=" << n;
    }
  }

  // Two rows of 2 `half` values; what lies between and after them is guarded.
  template <typename T>
  void CheckRope() {
    Random random(4);
    for (size_t half = 1; half <= kLongest; ++half) {
      const std::vector<double> cos = Draw<double>(half, random);
      const std::vector<double> sin = Draw<double>(half, random);
      const size_t stride = 2 * half + kGuards;
      std::vector<T> x = Draw<T>(stride + 2 * half, random);
      for (size_t i = 2 * half; i < stride; ++i) x[i] = T{kGuard};
      Rope(strategy(), cos.data(), sin.data(),
           Matrix<T>(x.data(), 2, 2 * half, stride));
      for (size_t i = 2 * half; i < stride; ++i) {
        ASSERT_EQ(x[i], T{kGuard}) << "half=" << half;
      }
    }
  }
};

TEST_P(ElementwiseEdgesTest, SwiGluTouchesNothingBeyondARow) {
  if (StoresFloat()) CheckSwiGlu<float>();
  CheckSwiGlu<double>();
}

TEST_P(ElementwiseEdgesTest, RoundRowTouchesNothingBeyondARow) {
  if (StoresFloat()) CheckRoundRow<float>();
  CheckRoundRow<double>();
}

TEST_P(ElementwiseEdgesTest, RopeTouchesNothingBeyondARow) {
  if (StoresFloat()) CheckRope<float>();
  CheckRope<double>();
}

INSTANTIATE_TEST_SUITE_P(
    All, ElementwiseEdgesTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kElementwise)), NameOf);

class ResidualEdgesTest : public RowEdgesTest {
 protected:
  template <typename T>
  void Check() {
    Random random(5);
    for (size_t n = 1; n <= kLongest; ++n) {
      const std::vector<T> update = Draw<T>(n, random);
      Guarded<T> stream(n);
      Guarded<double> carry(n);
      AddResidual(strategy(), update.data(), n, stream.data(), carry.data());
      EXPECT_TRUE(stream.Intact()) << "n=" << n;
      EXPECT_TRUE(carry.Intact()) << "n=" << n;
    }
  }
};

TEST_P(ResidualEdgesTest, NothingBeyondTheStreamIsTouched) {
  if (StoresFloat()) Check<float>();
  Check<double>();
}

INSTANTIATE_TEST_SUITE_P(
    All, ResidualEdgesTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kResidual)), NameOf);

}  // namespace
}  // namespace ulpscope
