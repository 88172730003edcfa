// The accuracy of the kernels that sum over a single row, RMSNorm and softmax,
// against references in long double from exact sums.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/exact.h"
#include "kernels/ops/rmsnorm.h"
#include "kernels/ops/softmax.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/measure/inputs.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

constexpr double kEps = 1e-6;

// Relative error of k roundings to `format`, in numerators or denominators
// (Higham 2002, lemma 3.1).
double Roundings(double k, Format format) {
  return Gamma(k, UnitRoundoff(format));
}

// Of two relative errors, one after the other.
double Both(double a, double b) { return a + b + a * b; }

// The format of a strategy's accumulators.
Format LaneOf(const StrategyInfo& info) {
  return FindTextbook(info.name)->lane;
}

// The largest relative error of a sum of n terms >= 0 over a row: 16 lanes of
// m = ceil(n / 16) terms each, then 4 merges. No term cancels, so a relative
// error of every term's share is one of the sum. `products`: the terms are
// products; FMA rounds each together with its addition, so they cost nothing
// but to kahan, which rounds them before.
//
//   f32, bf16, f16, bf16_late, f16_late, bf16_fused
//              a term meets m additions and 4 merges: gamma_(m + 4)
//   bf16_lanes256, bf16_lanes1024
//              as many lanes, and 8 or 10 merges
//   f64        the same with u = 2^-53
//   pairwise   min(m, 64) additions in its block, ceil(log2 blocks) in the
//              tree, 4 merges
//   bf16_acc   m + 4 additions in f32, and roundings to bf16: one after every
//              32 terms of a lane and one per merge
//   kahan      TwoSum is exact, so the sum's error is that of adding up the
//              compensations, and one last rounding. A term is part of at most
//              m + 4 partial sums, so the compensations add up to at most
//              gamma_(m + 4) of the sum in magnitude; each meets m additions,
//              and two per merge. With the products' roundings:
//              2 roundings and gamma_(m + 4) gamma_(m + 8)
//   dot2       the same but the products' errors, u of the sum, are among the
//              compensations, with one addition more:
//              1 rounding and gamma_(m + 5) gamma_(m + 9)
//   oracle     as f64; from 2^14 terms on as dot2 with u = 2^-53
double RowSumError(absl::string_view name, size_t n, bool products) {
  const double m = std::ceil(n / 16.0);
  const auto dot2 = [m](Format format) {
    return Both(Roundings(1, format),
                Roundings(m + 5, format) * Roundings(m + 9, format));
  };
  if (name == "bf16_lanes256") {
    return Roundings(std::ceil(n / 256.0) + 8, Format::kF32);
  }
  if (name == "bf16_lanes1024") {
    return Roundings(std::ceil(n / 1024.0) + 10, Format::kF32);
  }
  if (name == "f32" || name == "bf16" || name == "f16" || name == "bf16_late" ||
      name == "f16_late" || name == "bf16_fused") {
    return Roundings(m + 4, Format::kF32);
  }
  if (name == "f64") return Roundings(m + 4, Format::kF64);
  if (name == "pairwise") {
    const double blocks = std::ceil(m / 64);
    const double depth = blocks > 1 ? std::ceil(std::log2(blocks)) : 0;
    return Roundings(std::min(m, 64.0) + depth + 4, Format::kF32);
  }
  if (name == "bf16_acc") {
    return Both(Roundings(m + 4, Format::kF32),
                Roundings(std::floor(m / 32) + 4, Format::kBF16));
  }
  if (name == "kahan") {
    return Both(
        Roundings(products ? 2 : 1, Format::kF32),
        Roundings(m + 4, Format::kF32) * Roundings(m + 8, Format::kF32));
  }
  if (name == "dot2") return dot2(Format::kF32);
  if (name == "oracle") {
    return n < 16384 ? Roundings(m + 4, Format::kF64) : dot2(Format::kF64);
  }
  ADD_FAILURE() << "no bound for the sums of " << name;
  return 0;
}

// Result rounding after lanes: none if they are of the same format.
double ResultRounding(const StrategyInfo& info) {
  return info.result == LaneOf(info) ? 0 : Roundings(1, info.result);
}

// y = x w / sqrt(s / n + eps). The division by n, the rounding of eps and its
// addition are 2 roundings of the radicand, whose relative error e becomes
// (1 - e)^(-1/2) - 1 of y. The square root, the reciprocal and the two products
// are 4 more in lane format; a result of 16 bits is rounded before the weight
// and after.
double RmsNormError(const StrategyInfo& info, size_t n) {
  const Format lane = LaneOf(info);
  const double radicand =
      Both(RowSumError(info.name, n, true), Roundings(2, lane));
  if (radicand >= 1) return std::numeric_limits<double>::infinity();
  const double root = 1 / std::sqrt(1 - radicand) - 1;
  const double steps = Both(root, Roundings(4, lane));
  const double casts = info.rounds_once         ? Roundings(1, info.result)
                       : Has16Bits(info.result) ? Roundings(2, info.result)
                                                : ResultRounding(info);
  return Both(steps, casts);
}

// The reference's own rounding: long double has 64 bits.
constexpr double kReference = 0x1p-60;

// A row that bf16_acc sums badly and bf16 does not: 16 ones, one per lane, and
// then terms so small that 32 of them are below half a bf16 spacing of 1.
std::vector<float> Bf16SwampedNormRow(size_t n) {
  std::vector<float> x(n, 0.875F * 0x1p-7F);  // squares of 0.766 2^-14
  std::fill(x.begin(), x.begin() + 16, 1.0F);
  return x;
}

std::vector<float> Bf16SwampedLogits(size_t n) {
  std::vector<float> x(n, -10.0F);  // e^-10 is 0.74 2^-14
  std::fill(x.begin(), x.begin() + 16, 0.0F);
  return x;
}

struct Row {
  std::string name;
  std::vector<float> x;
};

std::vector<Row> Rows(absl::Span<const RowFamily> families, Operands operands,
                      absl::Span<const size_t> sizes,
                      std::vector<float> (*bf16_swamped)(size_t)) {
  std::vector<Row> rows;
  for (const size_t n : sizes) {
    for (const RowFamily& family : families) {
      Row row = {absl::StrCat(family.name, " n=", n), std::vector<float>(n)};
      FillRow(family, operands, n, absl::MakeSpan(row.x));
      rows.push_back(std::move(row));
    }
    if (n > 16) {
      rows.push_back({absl::StrCat("bf16_swamped n=", n), bf16_swamped(n)});
    }
  }
  return rows;
}

constexpr size_t kSizes[] = {1,   2,   3,    15,   16,   17,    31,    64,
                             127, 500, 1024, 1025, 4099, 16383, 16384, 16400};

Operands OperandsOf(Format format) {
  return format == Format::kBF16  ? Operands::kBF16
         : format == Format::kF16 ? Operands::kF16
                                  : Operands::kF32;
}

// A kernel with its reference and its bounds.
class RowJudge {
 public:
  virtual ~RowJudge() = default;
  virtual std::vector<double> Compute(Strategy strategy,
                                      const std::vector<float>& x) const = 0;
  virtual std::vector<long double> Exact(const std::vector<float>& x) const = 0;
  virtual std::vector<double> Bounds(
      const StrategyInfo& judge, const std::vector<float>& x,
      const std::vector<long double>& exact) const = 0;

  // The largest |y - exact| over the row in units of the bounds of `judge`: at
  // most 1 if `strategy` keeps them.
  double WorstShare(Strategy strategy, const StrategyInfo& judge,
                    const std::vector<float>& x) const {
    const std::vector<double> y = Compute(strategy, x);
    const std::vector<long double> exact = Exact(x);
    const std::vector<double> bounds = Bounds(judge, x, exact);
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double error = static_cast<double>(std::fabs(y[i] - exact[i]));
      if (error > 0) worst = std::max(worst, error / bounds[i]);
    }
    return worst;
  }
};

class RmsNormJudge : public RowJudge {
 public:
  static std::vector<double> Weights(size_t n) {
    std::vector<double> weight;  // representable in bf16 and f16
    for (size_t i = 0; i < n; ++i) {
      weight.push_back(0.5 + static_cast<double>(i % 100) / 128);
    }
    return weight;
  }

  std::vector<double> Compute(Strategy strategy,
                              const std::vector<float>& x) const override {
    const std::vector<double> wide(x.begin(), x.end());
    const std::vector<double> weight = Weights(x.size());
    std::vector<double> y(x.size());
    Parallel parallel;
    RmsNormArgs args;
    args.x = Matrix<const double>(wide.data(), 1, x.size());
    args.weight = weight.data();
    args.eps = kEps;
    args.y = Matrix<double>(y.data(), 1, x.size());
    RmsNorm(strategy, args, parallel);
    return y;
  }

  std::vector<long double> Exact(const std::vector<float>& x) const override {
    ExactSum squares = ExactDot(x, x);
    const double high = squares.Round();
    const long double sum =
        high - static_cast<long double>(squares.ErrorOf(high));
    const long double root =
        std::sqrt(sum / static_cast<long double>(x.size()) + kEps);
    const std::vector<double> weight = Weights(x.size());
    std::vector<long double> y;
    for (size_t i = 0; i < x.size(); ++i) y.push_back(x[i] * weight[i] / root);
    return y;
  }

  std::vector<double> Bounds(
      const StrategyInfo& judge, const std::vector<float>& x,
      const std::vector<long double>& exact) const override {
    const double relative = Both(RmsNormError(judge, x.size()), kReference);
    // The weights are below 2: a normalized value's underflow counts as much,
    // and its product with the weight may underflow again.
    const double underflow =
        judge.result == Format::kF16 ? 3 * kF16Underflow : 0;
    std::vector<double> bounds;
    for (const long double y : exact) {
      bounds.push_back(relative * static_cast<double>(std::fabs(y)) +
                       underflow);
    }
    return bounds;
  }
};

// y_i = e_i / sum e_j, e_i = exp(x_i - max). The difference is rounded once,
// which is an absolute error of u |x_i - max| of the exponent; exp is within
// 1.1 ULP (kernels/ops/exp-inl.h), an ULP being at most 2 u of the number. An
// error of e_j counts in the sum by its share y_j. Then the sum's own error,
// the quotient's rounding and the result's. Below 2^-126 an exponential of f32
// is off by 2^-149 at most, and so is each quotient.
class SoftmaxJudge : public RowJudge {
 public:
  std::vector<double> Compute(Strategy strategy,
                              const std::vector<float>& x) const override {
    const std::vector<double> wide(x.begin(), x.end());
    std::vector<double> y(x.size());
    Softmax(strategy, Matrix<const double>(wide.data(), 1, x.size()),
            Matrix<double>(y.data(), 1, x.size()));
    return y;
  }

  std::vector<long double> Exact(const std::vector<float>& x) const override {
    const long double max = *std::max_element(x.begin(), x.end());
    std::vector<long double> y;
    long double sum = 0;  // 16384 roundings of 2^-64 are 2^-50
    long double lost = 0;
    for (const float value : x) {
      const long double e = std::exp(value - max);
      y.push_back(e);
      const long double total = sum + e;  // Dekker: sum >= 1 or e is the first
      lost += std::fabs(sum) >= std::fabs(e) ? (sum - total) + e
                                             : (e - total) + sum;
      sum = total;
    }
    for (long double& value : y) value /= sum + lost;
    return y;
  }

  std::vector<double> Bounds(
      const StrategyInfo& judge, const std::vector<float>& x,
      const std::vector<long double>& exact) const override {
    const Format lane = LaneOf(judge);
    const double u = UnitRoundoff(lane);
    const double max = *std::max_element(x.begin(), x.end());
    std::vector<double> of_exp;
    double of_sum = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double difference = u * std::fabs(x[i] - max);
      of_exp.push_back(Both(std::expm1(difference), 2.2 * u));
      of_sum += of_exp[i] * static_cast<double>(exact[i]);
    }
    const double sum = Both(of_sum, RowSumError(judge.name, x.size(), false));
    if (sum >= 1) {
      return std::vector<double>(x.size(),
                                 std::numeric_limits<double>::infinity());
    }
    const double denominator = sum / (1 - sum);
    std::vector<double> bounds;
    for (size_t i = 0; i < x.size(); ++i) {
      double relative = Both(of_exp[i], denominator);
      relative = Both(relative, Roundings(1, lane));
      relative = Both(relative, ResultRounding(judge));
      relative = Both(relative, kReference);
      const double underflow =
          lane == Format::kF64 && judge.result == Format::kF64
              ? std::numeric_limits<double>::denorm_min()
          : judge.result == Format::kBF16 ? 0x1p-133
          : judge.result == Format::kF16  ? kF16Underflow + 0x1p-148
                                          : 0x1p-148;
      bounds.push_back(relative * static_cast<double>(exact[i]) + underflow);
    }
    return bounds;
  }
};

template <Kernel kKernel>
class RowAccuracyTest : public KernelTest {
 protected:
  static void CheckAllRows() {
    for (const Row& row : RowsFor(info().operand)) {
      const double share = Judge().WorstShare(strategy(), info(), row.x);
      ASSERT_LE(share, 1) << row.name;
    }
  }

 public:
  static const RowJudge& Judge() {
    static const RmsNormJudge rms_norm;
    static const SoftmaxJudge softmax;
    if constexpr (kKernel == Kernel::kRmsNorm) return rms_norm;
    return softmax;
  }

  static std::vector<Row> RowsFor(Format operand) {
    if constexpr (kKernel == Kernel::kRmsNorm) {
      return Rows(NormRowFamilies(), OperandsOf(operand), kSizes,
                  &Bf16SwampedNormRow);
    }
    return Rows(SoftmaxRowFamilies(), OperandsOf(operand), kSizes,
                &Bf16SwampedLogits);
  }

  // Rows that both formats represent. Numbers in the range of f16 stay in it
  // when they are rounded to another format's fewer bits.
  static std::vector<Row> RowsForBoth(Format worse, Format better) {
    const bool f16 = worse == Format::kF16 || better == Format::kF16;
    std::vector<Row> rows = RowsFor(f16 ? Format::kF16 : worse);
    for (Row& row : rows) {
      for (float& x : row.x) x = static_cast<float>(Rounded(worse, x));
    }
    return rows;
  }
};

using RmsNormAccuracyTest = RowAccuracyTest<Kernel::kRmsNorm>;
using SoftmaxAccuracyTest = RowAccuracyTest<Kernel::kSoftmax>;

TEST_P(RmsNormAccuracyTest, StaysWithinTheDerivedBound) { CheckAllRows(); }
TEST_P(SoftmaxAccuracyTest, StaysWithinTheDerivedBound) { CheckAllRows(); }

INSTANTIATE_TEST_SUITE_P(
    All, RmsNormAccuracyTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kRmsNorm)), NameOf);
INSTANTIATE_TEST_SUITE_P(
    All, SoftmaxAccuracyTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kSoftmax)), NameOf);

// Pairs whose difference is larger than what all of a kernel's other roundings
// may hide. kahan and dot2 differ by u / 2 of an RMSNorm that f32 rounds six
// times: no pair.
struct Pair {
  Kernel kernel;
  const char* worse;
  const char* better;
};

constexpr Pair kPairs[] = {
    {Kernel::kRmsNorm, "bf16_acc", "bf16"},
    {Kernel::kRmsNorm, "bf16", "bf16_late"},
    {Kernel::kRmsNorm, "bf16_fused", "bf16_late"},
    {Kernel::kRmsNorm, "bf16_lanes256", "bf16_late"},
    {Kernel::kRmsNorm, "bf16_lanes1024", "bf16_late"},
    {Kernel::kRmsNorm, "bf16_late", "f16"},
    {Kernel::kRmsNorm, "bf16", "f16"},
    {Kernel::kRmsNorm, "f16", "f16_late"},
    {Kernel::kRmsNorm, "f16", "f32"},
    {Kernel::kRmsNorm, "f32", "pairwise"},
    {Kernel::kRmsNorm, "pairwise", "kahan"},
    {Kernel::kRmsNorm, "pairwise", "dot2"},
    {Kernel::kRmsNorm, "kahan", "f64"},
    {Kernel::kRmsNorm, "dot2", "f64"},
    {Kernel::kRmsNorm, "f64", "oracle"},
    {Kernel::kSoftmax, "bf16_acc", "bf16"},
    {Kernel::kSoftmax, "bf16", "f16"},
    {Kernel::kSoftmax, "f16", "f32"},
    {Kernel::kSoftmax, "f32", "pairwise"},
    {Kernel::kSoftmax, "pairwise", "kahan"},
    {Kernel::kSoftmax, "kahan", "f64"},
    {Kernel::kSoftmax, "f64", "oracle"},
};

class RowPowerTest : public testing::TestWithParam<Pair> {};

TEST_P(RowPowerTest, WorseStrategyMissesTheBoundOfTheBetter) {
  const Pair& pair = GetParam();
  const auto worse = FindStrategy(pair.worse, pair.kernel);
  const auto better = FindStrategy(pair.better, pair.kernel);
  ASSERT_TRUE(worse.ok() && better.ok());
  const bool norm = pair.kernel == Kernel::kRmsNorm;
  const RowJudge& judge =
      norm ? RmsNormAccuracyTest::Judge() : SoftmaxAccuracyTest::Judge();
  // Rows that both read exactly.
  const Format of_worse = worse->info().operand;
  const Format of_better = better->info().operand;
  const std::vector<Row> rows =
      norm ? RmsNormAccuracyTest::RowsForBoth(of_worse, of_better)
           : SoftmaxAccuracyTest::RowsForBoth(of_worse, of_better);
  for (const int64_t target : RunnableTargets()) {
    const ScopedTarget scoped_target(target);
    double most = 0;
    for (const Row& row : rows) {
      ASSERT_LE(judge.WorstShare(*better, better->info(), row.x), 1)
          << row.name;
      most = std::max(most, judge.WorstShare(*worse, better->info(), row.x));
    }
    EXPECT_GT(most, 1) << hwy::TargetName(target);
  }
}

std::string NameOfPair(const testing::TestParamInfo<Pair>& info) {
  return absl::StrCat(KernelName(info.param.kernel), "_", info.param.worse,
                      "_and_", info.param.better);
}

INSTANTIATE_TEST_SUITE_P(All, RowPowerTest, testing::ValuesIn(kPairs),
                         NameOfPair);

}  // namespace
}  // namespace ulpscope
