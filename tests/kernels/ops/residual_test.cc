#include "kernels/ops/residual.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/measure/exact.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr double kU = 0x1p-24;

class ResidualTest : public KernelTest {
 protected:
  void CompareSequences() {
    const Textbook& t = *FindTextbook(strategy().name());
    Random random(1);
    for (size_t n = 1; n <= 70; ++n) {
      std::vector<double> stream;
      for (size_t i = 0; i < n; ++i) {
        stream.push_back(random.Gaussian() * (1 + 0x1p-30));
      }
      // That another strategy left, in f32.
      std::vector<double> carry(n);
      for (double& c : carry) {
        c = static_cast<float>(random.Gaussian() * 0x1p-26);
      }
      std::vector<double> expected(stream.begin(), stream.end());
      std::vector<double> expected_carry = carry;
      for (int layer = 0; layer < 20; ++layer) {
        std::vector<double> update;
        for (size_t i = 0; i < n; ++i) {
          // Every fourth update takes almost all of the stream back.
          const double x = layer % 4 == 3
                               ? -double{stream[i]} + random.Gaussian() * 1e-5
                               : random.Gaussian();
          update.push_back(x);
          TextbookAddResidual(t, update[i], expected[i], expected_carry[i]);
        }
        AddResidual(strategy(), update.data(), n, stream.data(), carry.data());
        ASSERT_TRUE(HasBits<double>(stream, expected)) << "n=" << n;
        ASSERT_TRUE(HasBits<double>(carry, expected_carry)) << "n=" << n;
      }
    }
  }

  // |stream - exact sum| / |exact sum| in u after 1 and `count` updates of
  // 0.4 u, each below half a spacing of the stream.
  static double SwampedError(int count) {
    double stream = 1;
    double carry = 0;
    ExactSum exact;
    exact.Add(1);
    for (int i = 0; i < count; ++i) {
      const double update = static_cast<float>(0.4 * kU);
      AddResidual(strategy(), &update, 1, &stream, &carry);
      exact.Add(update);
    }
    return std::fabs(exact.ErrorOf(stream)) / exact.Round() / kU;
  }
};

TEST_P(ResidualTest, HasTheTextbooksBits) { CompareSequences(); }

// A stream that is kept in two f32 has 48 bits: its value is the exact sum but
// for u^2 per update, and one rounding to f32 when it is read. f64 has 53.
// Without a carry all 1000 updates are lost.
TEST_P(ResidualTest, OnlyACarriedStreamKeepsSwampedUpdates) {
  constexpr int kCount = 1000;
  const double error = SwampedError(kCount);
  const Carry carry = FindTextbook(strategy().name())->carry;
  if (carry != Carry::kNone && carry != Carry::kLeft) {
    EXPECT_LE(error, 1 + kCount * kU);
  } else {
    EXPECT_GE(error, 0.39 * kCount);
  }
}

// What becomes of a carry, by what the strategy does with it.
class ResidualKeepsCarryTest : public ResidualTest {};
class ResidualClearsCarryTest : public ResidualTest {};
class ResidualTakesCarryTest : public ResidualTest {};

TEST_P(ResidualKeepsCarryTest, TheStreamIsReadWithoutIt) {
  double stream = 1;
  double carry = 0;
  const double update = 0x1p-30;
  AddResidual(strategy(), &update, 1, &stream, &carry);
  EXPECT_EQ(stream, 1.0);
  EXPECT_EQ(carry, 0x1p-30);
}

TEST_P(ResidualClearsCarryTest, ItIsGone) {
  std::vector<double> stream(37, 1.0);
  std::vector<double> carry(37, 0x1p-30);
  const std::vector<double> update(37, 1.0);
  AddResidual(strategy(), update.data(), 37, stream.data(), carry.data());
  EXPECT_EQ(stream, std::vector<double>(37, 2.0));
  EXPECT_EQ(carry, std::vector<double>(37, 0.0));
}

TEST_P(ResidualTakesCarryTest, ItGoesIntoTheF64Stream) {
  std::vector<double> stream(37, 1.0);
  std::vector<double> carry(37, 0x1p-30);
  const std::vector<double> update(37, 1.0);
  AddResidual(strategy(), update.data(), 37, stream.data(), carry.data());
  EXPECT_EQ(stream, std::vector<double>(37, 2 + 0x1p-30));
  EXPECT_EQ(carry, std::vector<double>(37, 0.0));
}

TEST_P(ResidualTest, NanStaysInItsChannel) {
  std::vector<double> stream(37, 1.0);
  std::vector<double> carry(37, 0.0);
  std::vector<double> update(37, 1.0);
  update[20] = std::nan("");
  AddResidual(strategy(), update.data(), 37, stream.data(), carry.data());
  for (size_t i = 0; i < stream.size(); ++i) {
    EXPECT_EQ(std::isnan(stream[i]), i == 20);
  }
}

std::vector<StrategyOnTarget> With(std::initializer_list<Carry> carries) {
  std::vector<StrategyOnTarget> some;
  for (const StrategyOnTarget& each : StrategiesOnTargets(Kernel::kResidual)) {
    const Carry carry = FindTextbook(each.strategy.name())->carry;
    if (std::find(carries.begin(), carries.end(), carry) != carries.end()) {
      some.push_back(each);
    }
  }
  return some;
}

INSTANTIATE_TEST_SUITE_P(
    All, ResidualKeepsCarryTest,
    testing::ValuesIn(With({Carry::kF32Compensation, Carry::kF64})), NameOf);
INSTANTIATE_TEST_SUITE_P(All, ResidualClearsCarryTest,
                         testing::ValuesIn(With({Carry::kNone, Carry::kLeft})),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(All, ResidualTakesCarryTest,
                         testing::ValuesIn(With({Carry::kTaken})), NameOf);
INSTANTIATE_TEST_SUITE_P(
    All, ResidualTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kResidual)), NameOf);

}  // namespace
}  // namespace ulpscope
