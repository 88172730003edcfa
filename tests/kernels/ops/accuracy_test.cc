#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/exact.h"
#include "kernels/measure/random.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/measure/inputs.h"
#include "tests/kernels/ops/textbook.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

// The operands of a dot product and what its computed values are judged by.
struct Dot {
  std::vector<double> a, b;
  ExactSum exact;
  SumTerms terms;
};

Dot Judged(std::vector<double> a, std::vector<double> b) {
  Dot dot;
  dot.exact = ExactDot(a, b);
  dot.terms.n = a.size();
  dot.terms.abs_result = std::fabs(dot.exact.Round());
  dot.terms.abs_terms = ExactAbsDot(a, b).Round();
  dot.a = std::move(a);
  dot.b = std::move(b);
  return dot;
}

Operands OperandsOf(Format format) {
  return format == Format::kBF16  ? Operands::kBF16
         : format == Format::kF16 ? Operands::kF16
                                  : Operands::kF32;
}

// A family's operands, representable in `operand`. For f64 they are spread to
// 53 bits: a strategy that reads them as f32 shows.
Dot MakeDot(const InputFamily& family, Format operand, uint64_t seed,
            size_t n) {
  std::vector<float> a(n), b(n);
  FillDot(family, OperandsOf(operand), seed, absl::MakeSpan(a),
          absl::MakeSpan(b));
  std::vector<double> wide_a(a.begin(), a.end());
  std::vector<double> wide_b(b.begin(), b.end());
  if (operand == Format::kF64) {
    Random random(~seed);
    for (size_t i = 0; i < n; ++i) {
      wide_a[i] *= 1 + 0x1p-26 * random.Uniform();
      wide_b[i] *= 1 + 0x1p-26 * random.Uniform();
    }
  }
  return Judged(std::move(wide_a), std::move(wide_b));
}

double Computed(Strategy strategy, const Dot& dot) {
  Parallel parallel;
  const Panels panels(DType::kF64, dot.b.data(), 1, dot.b.size(), parallel);
  double c = 0;
  MatMulArgs args;
  args.a = Matrix<const double>(dot.a.data(), 1, dot.a.size());
  args.b = panels.view();
  args.c = Matrix<double>(&c, 1, 1);
  MatMul(strategy, args, parallel);
  return c;
}

double Error(Strategy strategy, const Dot& dot) {
  return std::fabs(dot.exact.ErrorOf(Computed(strategy, dot)));
}

class AccuracyTest : public KernelTest {};

TEST_P(AccuracyTest, StaysWithinItsOwnBound) {
  for (const InputFamily& family : InputFamilies()) {
    for (const size_t n :
         {1, 2, 3, 5, 16, 31, 33, 63, 64, 65, 127, 129, 1000, 4097}) {
      for (uint64_t seed = 0; seed < 3; ++seed) {
        const Dot dot = MakeDot(family, info().operand, seed, n);
        ASSERT_LE(Error(strategy(), dot), info().error_bound(dot.terms))
            << family.name << " n=" << n << " seed=" << seed;
      }
    }
  }
}

// Where the oracle begins to compensate.
TEST_P(AccuracyTest, StaysWithinItsOwnBoundOnLongRows) {
  for (const absl::string_view name :
       {"gaussian", "swamped", "cancelling", "condition_1e12"}) {
    for (const InputFamily& family : InputFamilies()) {
      if (family.name != name) continue;
      for (const size_t n : {16383, 16385}) {
        const Dot dot = MakeDot(family, info().operand, 1, n);
        ASSERT_LE(Error(strategy(), dot), info().error_bound(dot.terms))
            << family.name << " n=" << n;
      }
    }
  }
}

// Results of f16 from its least number to its normal ones: multiples of 2^-24.
// Its bound holds there too, and would not without what it says of them.
TEST(F16UnderflowTest, StaysWithinItsOwnBound) {
  const Strategy f16 = *FindStrategy("f16", Kernel::kMatMul);
  Random random(1);
  for (const int64_t target : RunnableTargets()) {
    const ScopedTarget scoped_target(target);
    int beyond_relative = 0;
    for (int exponent = -26; exponent <= -14; ++exponent) {
      for (int i = 0; i < 100; ++i) {
        const double x = random.Below(1024) / 1024.0 + 1;
        const double y = random.Below(1024) / 1024.0 + 1;
        const Dot dot =
            Judged({std::ldexp(x, -12)}, {std::ldexp(y, exponent + 12)});
        const double error = Error(f16, dot);
        ASSERT_LE(error, f16.info().error_bound(dot.terms)) << exponent;
        const double u = UnitRoundoff(Format::kF16);
        beyond_relative += error > 1.001 * u * dot.terms.abs_result;
      }
    }
    EXPECT_GT(beyond_relative, 500) << hwy::TargetName(target);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, AccuracyTest, testing::ValuesIn(StrategiesOnTargets(Kernel::kMatMul)),
    NameOf);

// A strategy and its next better neighbour. Every strategy of the registry that
// MatMul takes and that has fixed bits has one or is one, see below; those of
// engines are judged in tests/kernels/ops/engine_matmul_test.cc.
struct Ranked {
  const char* worse;
  const char* better;
};
constexpr Ranked kRanking[] = {
    {"bf16_acc", "bf16"},    {"bf16", "f16"},     {"bf16", "bf16_f32"},
    {"f16", "f32"},          {"f16", "f16_f32"},  {"bf16_f32", "pairwise"},
    {"f16_f32", "pairwise"}, {"f32", "pairwise"}, {"pairwise", "kahan"},
    {"kahan", "dot2"},       {"dot2", "f64"},     {"f64", "oracle"}};

TEST(RankingTest, HasEveryStrategyOfMatMul) {
  for (size_t i = 0; i < Strategies().size(); ++i) {
    const StrategyInfo& info = Strategy(i).info();
    if (!Strategy(i).Takes(Kernel::kMatMul) || !info.fixed_bits ||
        info.emulated()) {
      continue;
    }
    const bool is_ranked = std::any_of(
        std::begin(kRanking), std::end(kRanking), [&](const Ranked& ranked) {
          return absl::string_view(info.name) == ranked.worse ||
                 absl::string_view(info.name) == ranked.better;
        });
    EXPECT_TRUE(is_ranked) << info.name;
  }
}

struct Neighbours {
  int64_t target;
  Strategy worse, better;
};

std::vector<Neighbours> AllNeighbours() {
  std::vector<Neighbours> all;
  for (const int64_t target : RunnableTargets()) {
    for (const Ranked& ranked : kRanking) {
      const auto worse = FindStrategy(ranked.worse, Kernel::kMatMul);
      const auto better = FindStrategy(ranked.better, Kernel::kMatMul);
      if (worse.ok() && better.ok()) all.push_back({target, *worse, *better});
    }
  }
  return all;
}

std::string NameOfNeighbours(const testing::TestParamInfo<Neighbours>& info) {
  return absl::StrCat(hwy::TargetName(info.param.target), "_",
                      info.param.worse.name(), "_and_",
                      info.param.better.name());
}

class PowerTest : public testing::TestWithParam<Neighbours> {
 protected:
  PowerTest() : scoped_target_(GetParam().target) {}

 private:
  ScopedTarget scoped_target_;
};

// Operands that both formats represent. Numbers in the range of f16 stay in it
// when they are rounded to another format's fewer bits.
Dot MakeDotOfBoth(const InputFamily& family, Format worse, Format better,
                  uint64_t seed, size_t n) {
  const bool f16 = worse == Format::kF16 || better == Format::kF16;
  const Dot dot = MakeDot(family, f16 ? Format::kF16 : worse, seed, n);
  return Judged(Rounded(worse, dot.a), Rounded(worse, dot.b));
}

// On some input that both read exactly, the worse strategy misses the better
// one's bound, which the better one keeps: neither can be computed as the other
// without a test noticing.
TEST_P(PowerTest, WorseStrategyMissesTheBoundOfTheBetter) {
  const auto [target, worse, better] = GetParam();
  int misses = 0;
  for (const InputFamily& family : InputFamilies()) {
    for (const size_t n : {2, 3, 5, 8, 64, 1000, 4097}) {
      for (uint64_t seed = 0; seed < 4; ++seed) {
        const Dot dot = MakeDotOfBoth(family, worse.info().operand,
                                      better.info().operand, seed, n);
        const double bound = better.info().error_bound(dot.terms);
        ASSERT_LE(Error(better, dot), bound);
        misses += Error(worse, dot) > bound;
      }
    }
  }
  RecordProperty("misses", misses);
  EXPECT_GT(misses, 0);
}

INSTANTIATE_TEST_SUITE_P(All, PowerTest, testing::ValuesIn(AllNeighbours()),
                         NameOfNeighbours);

}  // namespace
}  // namespace ulpscope
