#include "kernels/ops/matmul.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16,
                             DType::kF64};

// A row-major matrix in the type that it is stored in, and its exact values.
struct Stored {
  Stored(DType dtype_in, size_t rows, size_t cols, Random& random)
      : dtype(dtype_in), n(rows), k(cols) {
    for (size_t i = 0; i < n * k; ++i) Push(random.Gaussian());
  }

  void Push(double x) {
    const float f = static_cast<float>(x);
    switch (dtype) {
      case DType::kF64:
        Append(x);
        break;
      case DType::kF32:
        Append(f);
        x = f;
        break;
      case DType::kF16: {
        const hwy::float16_t half = hwy::F16FromF32(f);
        Append(half);
        x = hwy::F32FromF16(half);
        break;
      }
      case DType::kBF16: {
        const hwy::bfloat16_t brain = hwy::BF16FromF32(f);
        Append(brain);
        x = hwy::F32FromBF16(brain);
        break;
      }
    }
    values.push_back(x);
  }

  absl::Span<const double> Row(size_t j) const {
    return absl::MakeConstSpan(values).subspan(j * k, k);
  }

  // The first `rows` rows in panels.
  Panels First(size_t rows) const {
    Parallel parallel;
    return Panels(dtype, bytes.data(), rows, k, parallel);
  }

  DType dtype;
  size_t n, k;
  std::vector<double> values;
  std::vector<unsigned char> bytes;

 private:
  template <typename T>
  void Append(T x) {
    const auto* from = reinterpret_cast<const unsigned char*>(&x);
    bytes.insert(bytes.end(), from, from + sizeof(T));
  }
};

// Doubles that f32 cannot hold.
std::vector<double> Activations(size_t count, Random& random) {
  std::vector<double> a;
  for (size_t i = 0; i < count; ++i) {
    a.push_back(random.Gaussian() * (1 + 0x1p-30));
  }
  return a;
}

// Outputs of every row of a and every row of b.
std::vector<double> Expected(const Textbook& t, const std::vector<double>& a,
                             const Stored& b, const double* bias,
                             double scale) {
  std::vector<double> c;
  for (size_t r = 0; r < a.size() / b.k; ++r) {
    const auto row = absl::MakeConstSpan(a).subspan(r * b.k, b.k);
    for (size_t j = 0; j < b.n; ++j) {
      c.push_back(TextbookDot(t, row, b.Row(j),
                              bias != nullptr ? bias + j : nullptr, scale));
    }
  }
  return c;
}

class MatMulTest : public KernelTest {
 protected:
  const Textbook& textbook() const { return *FindTextbook(strategy().name()); }

  // Compares the outputs of the first m rows of a and n rows of b.
  void Compare(const std::vector<double>& a, const Stored& b,
               const Panels& panels, const std::vector<double>& expected,
               size_t m, size_t n, const double* bias, double scale,
               Parallel& parallel) {
    std::vector<double> c(m * n);
    MatMulArgs args;
    args.a = Matrix<const double>(a.data(), m, b.k);
    args.b = panels.view();
    args.bias = bias;
    args.scale = scale;
    args.c = Matrix<double>(c.data(), m, n);
    MatMul(strategy(), args, parallel);
    for (size_t r = 0; r < m; ++r) {
      ASSERT_TRUE(
          HasBits<double>(absl::MakeConstSpan(c).subspan(r * n, n),
                          absl::MakeConstSpan(expected).subspan(r * b.n, n)))
          << DTypeName(b.dtype) << " m=" << m << " n=" << n << " k=" << b.k
          << " row " << r << " scale " << scale;
    }
  }

  void CompareAllShapes() {
    Random random(1);
    Parallel parallel;
    for (const DType dtype : kDTypes) {
      // 440 are 7 blocks of 64: an odd one moves up at two levels of the tree.
      for (const size_t k : {1, 2, 31, 33, 63, 64, 65, 129, 440, 1000}) {
        const size_t rows = k == 129 ? 64 : 7;
        const Stored b(dtype, k >= 440 ? 33 : 70, k, random);
        const std::vector<double> a = Activations(rows * k, random);
        const std::vector<double> expected =
            Expected(textbook(), a, b, nullptr, 1);
        for (const size_t n : {1, 31, 32, 33, 70}) {
          if (n > b.n) continue;
          const Panels panels = b.First(n);
          for (const size_t m : {1, 2, 3, 7, 64}) {
            if (m > rows) continue;
            Compare(a, b, panels, expected, m, n, nullptr, 1, parallel);
          }
        }
      }
    }
  }

  void CompareBiasAndScale() {
    Random random(2);
    Parallel parallel;
    const size_t k = 130;
    const std::vector<double> a = Activations(3 * k, random);
    for (const DType dtype : kDTypes) {
      const Stored b(dtype, 40, k, random);
      const Panels panels = b.First(40);
      const std::vector<double> bias = Activations(40, random);
      for (const double scale : {1.0, 0.125, 1 / std::sqrt(80.0)}) {
        for (const bool with_bias : {false, true}) {
          const double* added = with_bias ? bias.data() : nullptr;
          const std::vector<double> expected =
              Expected(textbook(), a, b, added, scale);
          Compare(a, b, panels, expected, 3, 40, added, scale, parallel);
        }
      }
    }
  }
};

TEST_P(MatMulTest, HasTheTextbooksBits) { CompareAllShapes(); }

TEST_P(MatMulTest, BiasIsTheLastTermAndScaleComesLast) {
  CompareBiasAndScale();
}

// The oracle changes its sum at 2^14 terms; the others must not.
TEST_P(MatMulTest, LongRowsHaveTheTextbooksBits) {
  Random random(3);
  Parallel parallel;
  for (const size_t k : {16383, 16384, 16385}) {
    const Stored b(DType::kF32, 2, k, random);
    const std::vector<double> a = Activations(2 * k, random);
    const std::vector<double> bias = {0.1, 0.2};
    const std::vector<double> expected =
        Expected(textbook(), a, b, bias.data(), 1);
    Compare(a, b, b.First(2), expected, 2, 2, bias.data(), 1, parallel);
  }
}

TEST_P(MatMulTest, ThreadsChangeNoBit) {
  Random random(4);
  const size_t k = 100;
  const Stored b(DType::kBF16, 200, k, random);
  const std::vector<double> a = Activations(7 * k, random);
  const std::vector<double> expected = Expected(textbook(), a, b, nullptr, 1);
  for (const size_t threads : {1, 2, 3}) {
    Parallel parallel(threads);
    for (int repetition = 0; repetition < 3; ++repetition) {
      Compare(a, b, b.First(200), expected, 7, 200, nullptr, 1, parallel);
    }
  }
}

TEST_P(MatMulTest, WritesNothingOutsideItsViews) {
  Random random(5);
  Parallel parallel;
  constexpr size_t kM = 7, kN = 33, kK = 65, kStrideA = 71, kStrideC = 50;
  constexpr double kCanary = -12345;
  const Stored b(DType::kF32, kN, kK, random);
  const Panels panels = b.First(kN);
  // Columns that no view covers are NaN: reading them would show.
  std::vector<double> a(kM * kStrideA, std::nan(""));
  std::vector<double> dense;
  for (size_t r = 0; r < kM; ++r) {
    for (size_t i = 0; i < kK; ++i) {
      a[r * kStrideA + i] = random.Gaussian();
      dense.push_back(a[r * kStrideA + i]);
    }
  }
  std::vector<double> c((kM + 2) * kStrideC, kCanary);
  MatMulArgs args;
  args.a = Matrix<const double>(a.data(), kM, kK, kStrideA);
  args.b = panels.view();
  args.c = Matrix<double>(c.data() + kStrideC + 3, kM, kN, kStrideC);
  MatMul(strategy(), args, parallel);
  std::vector<double> expected(c.size(), kCanary);
  const std::vector<double> inner = Expected(textbook(), dense, b, nullptr, 1);
  for (size_t r = 0; r < kM; ++r) {
    for (size_t j = 0; j < kN; ++j) {
      expected[(r + 1) * kStrideC + 3 + j] = inner[r * kN + j];
    }
  }
  EXPECT_TRUE(HasBits<double>(c, expected));
}

TEST_P(MatMulTest, InfinitiesAndNanReachTheirOutputsOnly) {
  Random random(6);
  Parallel parallel;
  constexpr size_t kK = 100;
  for (const double bad : {kInfinity, -kInfinity, std::nan("")}) {
    Stored b(DType::kF32, 3, kK, random);
    std::vector<double> a = Activations(4 * kK, random);
    a[1 * kK + 57] = bad;  // row 1 of 4
    std::vector<double> c(4 * 3);
    const Panels panels = b.First(3);
    MatMulArgs args;
    args.a = Matrix<const double>(a.data(), 4, kK);
    args.b = panels.view();
    args.c = Matrix<double>(c.data(), 4, 3);
    MatMul(strategy(), args, parallel);
    for (size_t i = 0; i < c.size(); ++i) {
      EXPECT_EQ(std::isfinite(c[i]), i / 3 != 1) << bad << " at " << i;
    }
    // The textbook says which: compensated sums turn infinities into NaN.
    EXPECT_TRUE(HasBits<double>(c, Expected(textbook(), a, b, nullptr, 1)));
  }
}

// Tiles of every number of rows, sums carried over several blocks of k, more
// rows than a block holds, and long rows that the oracle compensates.
TEST_P(MatMulTest, HasTheTextbooksBitsInBlocks) {
  Random random(5);
  Parallel parallel(2);
  struct Shape {
    size_t m, k;
  };
  for (const DType dtype : kDTypes) {
    std::vector<Shape> shapes = {{25, 600}, {8, 513}};
    if (dtype == DType::kBF16) {
      shapes.push_back({251, 300});
      shapes.push_back({8, (size_t{1} << 14) + 300});
    }
    for (const Shape& shape : shapes) {
      const Stored b(dtype, 33, shape.k, random);
      const Panels panels = b.First(b.n);
      const auto a = Activations(shape.m * shape.k, random);
      const std::vector<double> expected =
          Expected(textbook(), a, b, nullptr, 1);
      for (size_t m = shape.m; m >= 8 && m + 13 > shape.m; --m) {
        Compare(a, b, panels, expected, m, b.n, nullptr, 1, parallel);
      }
    }
  }
}

// Beyond what f16 holds at both ends, and within f32's range: what a strategy
// makes of it, stored in any type, is what its textbook says.
TEST_P(MatMulTest, HasTheTextbooksBitsOverManyMagnitudes) {
  Random random(7);
  Parallel parallel;
  constexpr size_t kN = 40, kK = 3;
  for (const DType dtype : kDTypes) {
    Stored b(dtype, 0, kK, random);
    std::vector<double> a;
    for (size_t i = 0; i < kN * kK; ++i) {
      const int exponent = static_cast<int>(random.Below(44)) - 27;
      b.Push(std::ldexp(random.Gaussian(), exponent));
    }
    b.n = kN;
    for (size_t i = 0; i < 9 * kK; ++i) {
      const int exponent = static_cast<int>(random.Below(44)) - 27;
      a.push_back(std::ldexp(random.Gaussian(), exponent));
    }
    const std::vector<double> expected = Expected(textbook(), a, b, nullptr, 1);
    for (const size_t m : {1, 9}) {
      Compare(a, b, b.First(kN), expected, m, kN, nullptr, 1, parallel);
    }
  }
}

// Empty and misshapen matrices are errors in every build.
TEST(MatMulDeathTest, RefusesEmptyAndMisshapenMatrices) {
  Parallel parallel;
  const std::vector<float> b(6, 1.0f);
  const std::vector<double> data(6, 1.0);
  std::vector<double> c(4);
  const Panels panels(DType::kF32, b.data(), 2, 3, parallel);
  MatMulArgs args;
  args.b = panels.view();
  args.a = {data.data(), 2, 3};
  args.c = {c.data(), 2, 2};
  MatMul(Strategy(), args, parallel);
  EXPECT_EQ(c, std::vector<double>(4, 3.0));
  const auto run = [&](size_t m, size_t k, size_t n) {
    args.a = {data.data(), m, k};
    args.c = {c.data(), m, n};
    MatMul(Strategy(), args, parallel);
  };
  EXPECT_DEATH(run(0, 3, 2), "rows > 0");
  EXPECT_DEATH(run(2, 2, 2), "cols");
  EXPECT_DEATH(run(2, 3, 1), "cols");
}

INSTANTIATE_TEST_SUITE_P(
    All, MatMulTest,
    testing::ValuesIn(FixedStrategiesOnTargets(Kernel::kMatMul)), NameOf);

TEST(TextbookTest, HasEveryStrategyWithItsFormats) {
  for (const StrategyInfo& info : Strategies()) {
    // The one that a CPU's instructions define:
    // tests/kernels/ops/bf16_hw_test.cc.
    if (absl::string_view(info.name) == "bf16_hw") continue;
    // Those of engines: tests/kernels/ops/engine_matmul_test.cc.
    if (info.engine != nullptr) continue;
    // Those that the KV cache alone takes: tests/kernels/ops/stored_textbook.h.
    if (info.kernels == KernelBit(Kernel::kKvCache)) continue;
    const Textbook* textbook = FindTextbook(info.name);
    ASSERT_NE(textbook, nullptr) << info.name << " has no textbook loop";
    EXPECT_TRUE(textbook->operand == info.operand) << info.name;
    EXPECT_TRUE(textbook->result == info.result) << info.name;
    EXPECT_TRUE(info.fixed_bits) << info.name;
  }
}

}  // namespace
}  // namespace ulpscope
