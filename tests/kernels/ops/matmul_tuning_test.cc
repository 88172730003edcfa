// No tuning changes a bit: MatMuls of many rows under all kinds of tunings
// against the same rows one by one, which tests/kernels/ops/matmul_test.cc
// holds to the textbook.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr size_t kM = 50, kN = 200;
// Several blocks of k in most tunings, the last of them odd.
constexpr size_t kK = 1101;

class MatMulTuningTest : public KernelTest {
 protected:
  struct Operands {
    explicit Operands(DType dtype_in) : dtype(dtype_in), a(kM * kK), bias(kN) {
      Random random(1);
      for (double& x : a) x = random.Gaussian();
      for (double& x : bias) x = random.Gaussian();
      std::vector<float> b(kN * kK);
      for (float& x : b) {
        x = hwy::F32FromBF16(
            hwy::BF16FromF32(static_cast<float>(random.Gaussian())));
      }
      std::vector<hwy::bfloat16_t> narrow;
      for (const float x : b) narrow.push_back(hwy::BF16FromF32(x));
      Parallel parallel;
      const bool wide = dtype == DType::kF32;
      panels =
          Panels(dtype, wide ? static_cast<void*>(b.data()) : narrow.data(), kN,
                 kK, parallel);
    }

    MatMulArgs Args(size_t row, size_t rows, double* c) const {
      MatMulArgs args;
      args.a = {a.data() + row * kK, rows, kK};
      args.b = panels.view();
      args.c = {c, rows, kN};
      return args;
    }

    DType dtype;
    std::vector<double> a;
    std::vector<double> bias;
    Panels panels;
  };

  void CompareTunings(DType dtype) {
    const Operands operands(dtype);
    Parallel serial;
    for (int finish = 0; finish < 4; ++finish) {
      const auto set_finish = [&](MatMulArgs& args) {
        if (finish & 1) args.bias = operands.bias.data();
        if (finish & 2) args.scale = 0.3;
      };
      std::vector<double> one_by_one(kM * kN);
      for (size_t r = 0; r < kM; ++r) {
        MatMulArgs args = operands.Args(r, 1, one_by_one.data() + r * kN);
        set_finish(args);
        MatMul(strategy(), args, serial);
      }
      const std::vector<double> expected(one_by_one.begin(), one_by_one.end());
      Random random(2);
      // Also what no machine would want.
      const auto pick = [&](std::vector<uint32_t> values) {
        return values[random.Below(values.size())];
      };
      constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
      for (int i = 0; i < 18; ++i) {
        MatMulTuning tuning;
        if (i > 0) {
          tuning.tile_rows = pick({0, 1, 2, 4, 5, 8, kMost});
          tuning.block_steps = pick({0, 1, 100, 256, 1024, kMost});
          tuning.block_rows = pick({0, 1, 7, 24, kMost});
          tuning.group_panels = pick({0, 1, 3, 100, kMost});
          tuning.prefetch_steps = pick({0, 1, 1000});
          tuning.panels_in_flight = pick({0, 1, 2, 3, 4, kMost});
          tuning.threads = pick({0, 1, 2, kMost});
        }
        const size_t m = std::vector<size_t>{kM, 1, 2, 7, 8, 13}[i % 6];
        Parallel parallel(1 + static_cast<size_t>(i) % 3);
        std::vector<double> c(m * kN, std::numeric_limits<double>::quiet_NaN());
        MatMulArgs args = operands.Args(0, m, c.data());
        set_finish(args);
        args.tuning = &tuning;
        MatMul(strategy(), args, parallel);
        ASSERT_TRUE(
            HasBits<double>(absl::MakeConstSpan(c),
                            absl::MakeConstSpan(expected).first(m * kN)))
            << DTypeName(dtype) << " m=" << m << " " << TuningText(tuning);
      }
    }
  }
};

TEST_P(MatMulTuningTest, NoneChangesABit) {
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    CompareTunings(dtype);
  }
}

// Several MatMuls at once are those one by one, each with its own tuning, bias
// and number of outputs.
TEST_P(MatMulTuningTest, TogetherAsAlone) {
  const Operands operands(DType::kBF16);
  Random random(3);
  std::vector<hwy::bfloat16_t> other_b(40 * kK);
  for (auto& x : other_b) {
    x = hwy::BF16FromF32(static_cast<float>(random.Gaussian()));
  }
  Parallel parallel(2);
  const Panels other(DType::kBF16, other_b.data(), 40, kK, parallel);
  MatMulTuning one_thread;
  one_thread.threads = 1;
  for (const size_t m : {1, 3, 9, 50}) {
    std::vector<double> first(m * kN), second(m * 40);
    std::vector<MatMulArgs> both(2, operands.Args(0, m, first.data()));
    both[0].bias = operands.bias.data();
    both[1].b = other.view();
    both[1].c = {second.data(), m, 40};
    both[1].tuning = &one_thread;
    MatMuls(strategy(), both, parallel);
    std::vector<double> alone(m * kN), other_alone(m * 40);
    both[0].c.data = alone.data();
    both[1].c.data = other_alone.data();
    MatMul(strategy(), both[0], parallel);
    MatMul(strategy(), both[1], parallel);
    EXPECT_TRUE(HasBits<double>(first, alone)) << m;
    EXPECT_TRUE(HasBits<double>(second, other_alone)) << m;
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, MatMulTuningTest,
    testing::ValuesIn(FixedStrategiesOnTargets(Kernel::kMatMul)), NameOf);

}  // namespace
}  // namespace ulpscope
