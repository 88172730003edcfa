// PyTorch's exponentials against scalar loops of what at::vec does (vec512's
// exp_u20 and fexp_u20), and against e^x.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/vector_exp.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

float FloatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

// x <= 0: every 61st float, and the ends.
std::vector<float> Arguments() {
  std::vector<float> x = {
      0.0F,        -0.0F,   -87.3365479F,
      -87.336555F, -200.0F, -std::numeric_limits<float>::infinity()};
  for (uint32_t bits = 0xA0000000; FloatOf(bits) > -89.0F; bits += 61) {
    x.push_back(FloatOf(bits));
  }
  return x;
}

const float kLeast = FloatOf(0xC2AEAC50);
const float kLog2E = FloatOf(0x3FB8AA3B);
const float kLn2 = FloatOf(0x3F317218);

float ExpU20(float x) {
  if (x < kLeast) return 0;
  const float n = std::floor(std::fma(x, kLog2E, 0.5F));
  const float r = std::fma(-n, kLn2, x);
  float p = std::fma(r, 0.00828929059F, 0.0418978221F);
  p = std::fma(r, p, 0.166676521F);
  p = std::fma(r, p, 0.499991506F);
  p = std::fma(r, p, 0.999999701F);
  p = std::fma(r, p, 1.0F);
  // 2^(n - 1), but 0 for the least n.
  const uint32_t exponent = static_cast<uint32_t>(static_cast<int>(n) + 126);
  return p * FloatOf(exponent << 23) * 2;
}

float FastExp(float x) {
  if (x < kLeast) return 0;
  const float s = x * kLog2E;
  const float f = s - std::floor(s);
  float p = std::fma(f, -0.079204240219773236F, -0.22433836478672356F);
  p = std::fma(f, p, 0.30354260500649682F);
  p = std::fma(f, p, 0.00010703434948458272F);
  return FloatOf(
      static_cast<uint32_t>(std::fma(0x1p23F, s - p, 127 * 0x1p23F)));
}

class TorchExpTest : public testing::TestWithParam<int64_t> {
 protected:
  TorchExpTest() : scoped_target_(GetParam()) {}

 private:
  ScopedTarget scoped_target_;
};

TEST_P(TorchExpTest, HaveTheBitsOfTheScalarLoops) {
  const std::vector<float> x = Arguments();
  std::vector<float> u20 = x, fast = x;
  VectorTorchExpU20(absl::MakeSpan(u20));
  VectorTorchFastExp(absl::MakeSpan(fast));
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_TRUE(SameBits(u20[i], ExpU20(x[i]))) << x[i];
    ASSERT_TRUE(SameBits(fast[i], FastExp(x[i]))) << x[i];
  }
}

TEST_P(TorchExpTest, StayWithinTheirBounds) {
  const std::vector<float> x = Arguments();
  std::vector<float> u20 = x, fast = x;
  VectorTorchExpU20(absl::MakeSpan(u20));
  VectorTorchFastExp(absl::MakeSpan(fast));
  double most_u20 = 0, most_fast = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] < -86.98F) continue;
    const double exact = std::exp(double{x[i]});
    most_u20 = std::fmax(most_u20, std::fabs(u20[i] / exact - 1));
    most_fast = std::fmax(most_fast, std::fabs(fast[i] / exact - 1));
  }
  EXPECT_LE(most_u20, 4 * 0x1p-23);
  EXPECT_LE(most_fast, 0x1p-13);
  EXPECT_GT(most_fast, 0x1p-14) << "the bound is larger than it has to be";
}

TEST_P(TorchExpTest, NanStaysNan) {
  std::vector<float> x = {std::nanf(""), -1.0F, std::nanf("")};
  std::vector<float> y = x;
  VectorTorchExpU20(absl::MakeSpan(x));
  VectorTorchFastExp(absl::MakeSpan(y));
  for (const size_t i : {0, 1, 2}) {
    EXPECT_EQ(std::isnan(x[i]), i != 1);
    EXPECT_EQ(std::isnan(y[i]), i != 1);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TorchExpTest,
                         testing::ValuesIn(RunnableTargets()), NameOfTarget);

}  // namespace
}  // namespace ulpscope
