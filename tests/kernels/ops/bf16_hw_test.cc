// bf16_hw claims no fixed bits, as the CPU's instructions define its sums: what
// can be held to a value are sums that no order of additions rounds.
// tests/kernels/ops/accuracy_test.cc holds it to its error bound.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/base.h"
#include "kernels/base/cpu.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

using ::testing::HasSubstr;

class Bf16HwTest : public testing::TestWithParam<int64_t> {
 protected:
  Bf16HwTest() : scoped_target_(GetParam()) {}

 private:
  ScopedTarget scoped_target_;
};

TEST_P(Bf16HwTest, IsOfferedWhereTheTargetHasIt) {
  const auto found = FindStrategy("bf16_hw", Kernel::kMatMul);
  EXPECT_EQ(found.ok(), CpuHasBf16Dot());
  if (found.ok()) return;
  EXPECT_EQ(found.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(found.status().message()),
              HasSubstr(hwy::TargetName(GetParam())));
}

// Small integers: every sum of products, in any order, is an integer below 256,
// which bf16 holds.
std::vector<double> SmallIntegers(size_t count, Random& random) {
  std::vector<double> values(count);
  for (double& v : values) v = std::round(std::fmod(random.Gaussian(), 2));
  return values;
}

template <typename T>
std::vector<T> StoredAs(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}
template <>
std::vector<hwy::bfloat16_t> StoredAs(const std::vector<double>& values) {
  std::vector<hwy::bfloat16_t> stored;
  for (const double v : values) {
    stored.push_back(hwy::BF16FromF32(static_cast<float>(v)));
  }
  return stored;
}

template <typename Weight>
void ExpectExact(DType dtype) {
  const Strategy strategy = *FindStrategy("bf16_hw", Kernel::kMatMul);
  Random random(1);
  Parallel parallel(2);
  for (const size_t k : {1, 2, 3, 31, 32, 33, 64, 65, 129, 1100}) {
    for (const size_t n : {1, 33, 70}) {
      const std::vector<double> b = SmallIntegers(n * k, random);
      const std::vector<Weight> stored = StoredAs<Weight>(b);
      const Panels panels(dtype, stored.data(), n, k, parallel);
      for (const size_t m : {1, 2, 3, 7, 8, 13, 25, 64}) {
        const std::vector<double> a = SmallIntegers(m * k, random);
        const std::vector<double> bias = SmallIntegers(n, random);
        std::vector<double> c(m * n);
        MatMulTuning tuning;
        tuning.block_steps = 128;  // k = 1100 has several blocks
        MatMulArgs args;
        args.a = {a.data(), m, k};
        args.b = panels.view();
        args.bias = bias.data();
        args.scale = 0.5;
        args.c = {c.data(), m, n};
        args.tuning = &tuning;
        MatMul(strategy, args, parallel);
        for (size_t r = 0; r < m; ++r) {
          for (size_t j = 0; j < n; ++j) {
            double exact = bias[j];
            for (size_t i = 0; i < k; ++i) exact += a[r * k + i] * b[j * k + i];
            ASSERT_LE(std::fabs(exact), 256);
            ASSERT_EQ(c[r * n + j], exact / 2)
                << DTypeName(dtype) << " m=" << m << " n=" << n << " k=" << k
                << " at " << r << ", " << j;
          }
        }
      }
    }
  }
}

TEST_P(Bf16HwTest, IsExactWhereNothingIsRounded) {
  if (!CpuHasBf16Dot()) GTEST_SKIP() << "no dot products of bf16";
  ExpectExact<hwy::bfloat16_t>(DType::kBF16);
  ExpectExact<float>(DType::kF32);
}

INSTANTIATE_TEST_SUITE_P(All, Bf16HwTest, testing::ValuesIn(RunnableTargets()),
                         NameOfTarget);

}  // namespace
}  // namespace ulpscope
