#include "kernels/tune/autotuner.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "gtest/gtest.h"
#include "kernels/base/dtype.h"
#include "kernels/base/format.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/tuning_search.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;

std::set<std::string> ParametersOf(const std::vector<TuningChoices>& choices) {
  std::set<std::string> names;
  for (const TuningChoices& choice : choices) {
    for (const TuningParameter& parameter : TuningParameters()) {
      if (choice.parameter == parameter.field && !choice.values.empty()) {
        names.insert(parameter.name);
      }
    }
  }
  return names;
}

TEST(AutotunerTest, OnlyParametersThatMatterAreTried) {
  const std::set<std::string> few = {"panels_in_flight", "prefetch_steps",
                                     "threads"};
  const std::set<std::string> many = {"block_rows", "block_steps",
                                      "group_panels", "threads", "tile_rows"};
  EXPECT_EQ(ParametersOf(MatMulChoices(1, 896, 896, 2)), few);
  EXPECT_EQ(ParametersOf(MatMulChoices(7, 896, 896, 2)), few);
  EXPECT_EQ(ParametersOf(MatMulChoices(32, 896, 896, 2)), many);
  EXPECT_EQ(ParametersOf(MatMulChoices(1, 896, 896, 1)).count("threads"), 0);
}

TEST(AutotunerTest, ValuesBeyondTheShapeAreNotTried) {
  for (const TuningChoices& choice : MatMulChoices(20, 100, 300, 8)) {
    for (const uint32_t value : choice.values) {
      EXPECT_NE(value, 0);
      if (choice.parameter == &MatMulTuning::block_rows ||
          choice.parameter == &MatMulTuning::tile_rows) {
        EXPECT_LE(value, 20);
      } else if (choice.parameter == &MatMulTuning::group_panels) {
        EXPECT_LE(value, 3);
      } else if (choice.parameter == &MatMulTuning::threads) {
        EXPECT_LT(value, 8);
      } else {
        EXPECT_LE(value, 300);
      }
    }
  }
}

ColdWeights Cold(std::vector<WeightsShape> region, size_t model_bytes,
                 Parallel& parallel) {
  return ColdWeights::Make(region, model_bytes, parallel).value();
}

TEST(AutotunerTest, CopiesAreAsManyAsKeepWeightsCold) {
  Parallel serial;
  // 64 x 64 of 4 bytes: 16 KiB.
  ColdWeights ten = Cold({{DType::kF32, 64, 64}}, 160 << 10, serial);
  EXPECT_EQ(ten.num_copies(), 10);
  EXPECT_EQ(Cold({{DType::kF32, 64, 64}}, 0, serial).num_copies(), 1);
  // A region is copied as a whole: 32 KiB.
  EXPECT_EQ(
      Cold({{DType::kF32, 64, 64}, {DType::kBF16, 128, 64}}, 160 << 10, serial)
          .num_copies(),
      5);
  // At least 256 MiB of a model that is larger: 512 KiB each.
  EXPECT_GE(
      Cold({{DType::kBF16, 512, 512}}, size_t{1} << 40, serial).num_copies(),
      256);
  // Each has its turn, and all are alike.
  std::set<const void*> seen;
  std::vector<double> first(64), other(64);
  ten.any()[0].CopyRow(5, first.data());
  for (size_t i = 0; i < 10; ++i) {
    const Panels& panels = ten.Next()[0];
    EXPECT_TRUE(seen.insert(panels.view().data).second);
    panels.CopyRow(5, other.data());
    EXPECT_EQ(other, first);
  }
  EXPECT_EQ(seen.count(ten.Next()[0].view().data), 1);
}

// Whatever a tuning says, the results that are timed are right.
TEST(AutotunerTest, EveryStrategyAndTypeCanBeTuned) {
  Parallel parallel(2);
  for (const DType weights :
       {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}) {
    ColdWeights q = Cold({{weights, 70, 150}, {DType::kBF16, 40, 150}},
                         100 << 10, parallel);
    ColdWeights o = Cold({{weights, 70, 150}}, 100 << 10, parallel);
    const TuningRegion regions[] = {{&q, {0}}, {&o, {0}}};
    for (size_t s = 0; s < Strategies().size(); ++s) {
      const Strategy strategy(s);
      if (!strategy.Takes(Kernel::kMatMul)) continue;  // not on this CPU
      for (const size_t m : {1, 20}) {
        const auto result = TuneMatMul(strategy, m, regions, 0.002, parallel);
        ASSERT_THAT(result, IsOk());
        EXPECT_EQ(result->wrong, 0) << strategy.name();
        EXPECT_GT(result->candidates, 1);
        EXPECT_GT(result->best_seconds, 0);
        EXPECT_LE(result->best_seconds, result->default_seconds);
        EXPECT_GE(result->worst_seconds, result->default_seconds);
      }
    }
  }
}

}  // namespace
}  // namespace ulpscope
