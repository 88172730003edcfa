#include "kernels/tune/matmul_check.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {
namespace {

// Small integers: every format holds them, and f64 adds them without rounding.
std::vector<double> Integers(size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<double> values(count);
  for (double& v : values) v = static_cast<double>(random.Below(129)) - 64;
  return values;
}

class MatMulCheckTest : public testing::Test {
 protected:
  static constexpr size_t kM = 7, kN = 70, kK = 90;

  MatMulCheckTest()
      : a_(Integers(kM * kK, 1)),
        b_(Integers(kN * kK, 2)),
        panels_(DType::kF64, b_.data(), kN, kK, serial_),
        c_(kM * kN) {
    for (size_t i = 0; i < kM; ++i) {
      for (size_t j = 0; j < kN; ++j) {
        for (size_t k = 0; k < kK; ++k) {
          c_[i * kN + j] += a_[i * kK + k] * b_[j * kK + k];
        }
      }
    }
  }

  Matrix<const double> a() const { return {a_.data(), kM, kK}; }
  double Worst(const MatMulCheck& check, Strategy strategy) const {
    return check.WorstOverBound(strategy, {c_.data(), kM, kN});
  }

  Parallel serial_;
  std::vector<double> a_, b_;
  Panels panels_;
  std::vector<double> c_;  // exact
};

TEST_F(MatMulCheckTest, ExactResultsHaveNoError) {
  const MatMulCheck check(a(), panels_, kM * kN);
  for (size_t s = 0; s < Strategies().size(); ++s) {
    EXPECT_EQ(Worst(check, Strategy(s)), 0);
  }
}

TEST_F(MatMulCheckTest, EveryStrategyStaysWithinItsBound) {
  const MatMulCheck check(a(), panels_, kM * kN);
  for (size_t s = 0; s < Strategies().size(); ++s) {
    const Strategy strategy(s);
    if (!strategy.Takes(Kernel::kMatMul)) continue;  // not on this CPU
    if (!BoundsAnyOperands(strategy)) continue;
    MatMulArgs args;
    args.a = a();
    args.b = panels_.view();
    args.c = {c_.data(), kM, kN};
    MatMul(strategy, args, serial_);
    EXPECT_LE(Worst(check, strategy), 1) << strategy.name();
  }
}

TEST_F(MatMulCheckTest, EveryWrongOutputIsFoundIfAllAreChecked) {
  const MatMulCheck check(a(), panels_, kM * kN);
  for (size_t at = 0; at < c_.size(); ++at) {
    const double right = c_[at];
    for (const double wrong :
         {right + 1e9, std::numeric_limits<double>::quiet_NaN(),
          std::numeric_limits<double>::infinity()}) {
      c_[at] = wrong;
      for (size_t s = 0; s < Strategies().size(); ++s) {
        EXPECT_GT(Worst(check, Strategy(s)), 1) << at << " " << wrong;
      }
    }
    c_[at] = right;
  }
}

// A sample has outputs of every row, and of the first and the last panel.
TEST_F(MatMulCheckTest, SampleIsSpreadOut) {
  const MatMulCheck check(a(), panels_, 64);
  std::set<size_t> rows, panels;
  size_t found = 0;
  for (size_t at = 0; at < c_.size(); ++at) {
    const double right = c_[at];
    c_[at] += 1e9;
    if (Worst(check, Strategy()) > 1) {
      ++found;
      rows.insert(at / kN);
      panels.insert(at % kN / kPanelWidth);
    }
    c_[at] = right;
  }
  EXPECT_GT(found, 48);
  EXPECT_LE(found, 64);
  EXPECT_EQ(rows.size(), kM);
  EXPECT_EQ(panels.size(), 3);
}

}  // namespace
}  // namespace ulpscope
