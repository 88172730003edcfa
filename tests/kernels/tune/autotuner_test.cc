#include "kernels/tune/autotuner.h"

#include <algorithm>
#include <cmath>
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
#include "kernels/ops/block_type.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/matmul_work.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/stored_type.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/cold_weights.h"
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

// Of the first of a region's matrices, which all have k columns, as MatMuls of
// m rows run on two threads unless they are tuned.
MatMulWork DefaultWork(Strategy strategy, size_t m,
                       const std::vector<WeightsShape>& region,
                       const MatMulTuning& tuning = {}) {
  std::vector<MatMulArgs> args(region.size());
  for (size_t i = 0; i < region.size(); ++i) {
    args[i].a = {nullptr, m, region[i].k};
    args[i].b.dtype = region[i].type.dtype;
    args[i].b.blocks = region[i].type.blocks;
    args[i].b.n = region[i].n;
    args[i].b.k = region[i].k;
  }
  return WorkOf(strategy, args, 0, tuning, /*threads=*/2);
}

std::set<std::string> Tried(const char* strategy, size_t m,
                            const std::vector<WeightsShape>& region,
                            size_t threads = 2) {
  const MatMulWork work =
      DefaultWork(FindStrategy(strategy, Kernel::kMatMul).value(), m, region);
  return ParametersOf(MatMulChoices({&work, 1}, m, region[0], threads));
}

const std::set<std::string> kOneRow = {"panels_in_flight", "prefetch_steps",
                                       "threads"};
const std::set<std::string> kFewRows = {"prefetch_steps", "threads"};
const std::set<std::string> kManyRows = {
    "block_rows", "block_steps", "group_panels", "threads", "tile_rows"};
// Of fewer rows than a block of them has.
const std::set<std::string> kSomeRows = {"block_steps", "group_panels",
                                         "threads"};

TEST(AutotunerTest, OnlyParametersThatMatterAreTried) {
  const WeightsShape narrow = {DType::kBF16, 896, 896};
  EXPECT_EQ(Tried("f32", 1, {narrow}), kOneRow);
  for (const size_t m : {2, 3, 7}) {
    EXPECT_EQ(Tried("f32", m, {narrow}), kFewRows) << m;
  }
  EXPECT_EQ(Tried("f32", 8, {narrow}).count("prefetch_steps"), 0);
  EXPECT_EQ(Tried("f32", 32, {narrow}), kManyRows);
  EXPECT_EQ(Tried("f32", 1, {narrow}, 1).count("threads"), 0);
}

// What tiles read as it is stored takes packed tiles from 3 rows on, in which
// nothing is fetched by steps.
TEST(AutotunerTest, DistancesAreTriedOnlyWhereTheyAreUsed) {
  const WeightsShape wide = {DType::kF32, 896, 896};
  const WeightsShape narrow = {DType::kBF16, 896, 896};
  EXPECT_EQ(Tried("f32", 1, {wide}), kOneRow);
  EXPECT_EQ(Tried("f32", 2, {wide}), kFewRows);
  for (const size_t m : {3, 4}) {
    EXPECT_EQ(Tried("f32", m, {wide}), kSomeRows) << m;
  }
  EXPECT_EQ(Tried("f32", 7, {wide}).count("prefetch_steps"), 0);
  // f64 sums widen it, and so does any other matrix of the region.
  EXPECT_EQ(Tried("f64", 4, {wide}), kFewRows);
  EXPECT_EQ(Tried("f32", 4, {wide, narrow}), kFewRows);
}

// A row alone keeps blocks as they are, two panels at most at once.
TEST(AutotunerTest, BlocksAreTunedAsTheyRun) {
  for (const BlockType& type : BlockTypes()) {
    SCOPED_TRACE(std::string(type.name));
    const WeightsShape blocks = {type, 896, 1024};
    EXPECT_EQ(Tried("f32", 1, {blocks}), kOneRow);
    EXPECT_EQ(Tried("f32", 2, {blocks}), kSomeRows);
    EXPECT_EQ(Tried("f32", 32, {blocks}), kManyRows);
    const MatMulWork work = DefaultWork(Strategy(), 1, {blocks});
    EXPECT_EQ(work.most_panels_in_flight, 2u);
    for (const auto& choice : MatMulChoices({&work, 1}, 1, blocks, 2)) {
      if (choice.parameter == &MatMulTuning::panels_in_flight) {
        EXPECT_EQ(choice.values, (std::vector<uint32_t>{1, 2}));
      }
    }
    // One matrix in blocks packs the rows of all.
    EXPECT_EQ(Tried("f32", 2, {{DType::kBF16, 896, 1024}, blocks}), kSomeRows);
  }
}

// A balanced tree has all of k at once.
TEST(AutotunerTest, BlocksOfKAreTriedOnlyWhereSumsAreCarried) {
  EXPECT_EQ(
      Tried("pairwise", 32, {{DType::kBF16, 896, 896}}).count("block_steps"),
      0);
}

TEST(AutotunerTest, ValuesBeyondTheShapeAreNotTried) {
  const WeightsShape b = {DType::kBF16, 100, 300};
  const MatMulWork work = DefaultWork(Strategy(), 20, {b});
  for (const TuningChoices& choice : MatMulChoices({&work, 1}, 20, b, 8)) {
    for (const uint32_t value : choice.values) {
      EXPECT_NE(value, 0);
      if (choice.parameter == &MatMulTuning::block_rows) {
        EXPECT_LE(value, 20);
      } else if (choice.parameter == &MatMulTuning::tile_rows) {
        EXPECT_LT(value, work.most_tile_rows);
      } else if (choice.parameter == &MatMulTuning::group_panels) {
        EXPECT_LE(value, 4);
      } else if (choice.parameter == &MatMulTuning::threads) {
        EXPECT_LT(value, 8);
      } else {
        EXPECT_LE(value, 300);
      }
    }
  }
}

// The same work is what the search does not time twice.
TEST(AutotunerTest, TuningsThatComeToTheSameAreTheSameWork) {
  const auto with = [](uint32_t MatMulTuning::*parameter, uint32_t value) {
    MatMulTuning tuning;
    tuning.*parameter = value;
    return tuning;
  };
  const std::vector<WeightsShape> region = {{DType::kBF16, 896, 896}};
  const auto work = [&region](size_t m, const MatMulTuning& tuning) {
    return DefaultWork(Strategy(), m, region, tuning);
  };
  EXPECT_TRUE(work(1, {}) == work(1, with(&MatMulTuning::tile_rows, 4)));
  EXPECT_TRUE(work(1, {}) == work(1, with(&MatMulTuning::prefetch_steps, 32)));
  EXPECT_FALSE(work(1, {}) == work(1, with(&MatMulTuning::prefetch_steps, 33)));
  EXPECT_TRUE(work(32, {}) == work(32, with(&MatMulTuning::prefetch_steps, 9)));
  EXPECT_FALSE(work(32, {}) == work(32, with(&MatMulTuning::block_steps, 64)));
  EXPECT_TRUE(work(32, {}) == work(32, with(&MatMulTuning::threads, 2)));
  EXPECT_FALSE(work(32, {}) == work(32, with(&MatMulTuning::threads, 1)));
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

TEST(AutotunerTest, ColdBlocksAreValidAndModerate) {
  Parallel serial;
  for (const BlockType& type : BlockTypes()) {
    SCOPED_TRACE(std::string(type.name));
    const ColdWeights cold = Cold({{type, 33, 512}}, 0, serial);
    const Panels& panels = cold.any()[0];
    EXPECT_EQ(panels.view().type_name(), type.name);
    std::set<double> different;
    for (size_t j = 0; j < 33; ++j) {
      std::vector<double> row(512);
      panels.CopyRow(j, row.data());
      double most = 0;
      for (const double x : row) {
        ASSERT_LT(std::fabs(x), 2);
        most = std::max(most, std::fabs(x));
        different.insert(x);
      }
      EXPECT_GE(most, 0x1p-7);
    }
    EXPECT_GT(different.size(), 20u);
  }
}

TEST(AutotunerTest, StopEndsPackingAndTuning) {
  Parallel serial;
  const auto stop = [] { return true; };
  EXPECT_THAT(
      ColdWeights::Make({{{DType::kF32, 64, 64}}}, 160 << 10, serial, stop),
      StatusIs(absl::StatusCode::kCancelled));
  ColdWeights cold = Cold({{DType::kF32, 64, 64}}, 0, serial);
  const TuningRegion region = {&cold, {0}};
  EXPECT_THAT(TuneMatMul(Strategy(), 1, {&region, 1}, 1, serial, stop),
              StatusIs(absl::StatusCode::kCancelled));
}

// Whatever a tuning says, the results that are timed are right.
TEST(AutotunerTest, EveryStrategyAndTypeCanBeTuned) {
  Parallel parallel(2);
  std::vector<StoredType> types = {DType::kF64, DType::kF32, DType::kF16,
                                   DType::kBF16};
  for (const BlockType& type : BlockTypes()) types.emplace_back(type);
  for (const StoredType& weights : types) {
    const size_t k = weights.blocks != nullptr ? 256 : 150;
    ColdWeights q =
        Cold({{weights, 70, k}, {DType::kBF16, 40, k}}, 100 << 10, parallel);
    ColdWeights o = Cold({{weights, 70, k}}, 100 << 10, parallel);
    const TuningRegion regions[] = {{&q, {0}}, {&o, {0}}};
    for (size_t s = 0; s < Strategies().size(); ++s) {
      const Strategy strategy(s);
      if (!strategy.Takes(Kernel::kMatMul)) continue;  // not on this CPU
      for (const size_t m : {1, 20}) {
        const auto result = TuneMatMul(strategy, m, regions, 0.002, parallel);
        if (strategy.info().emulated()) {
          EXPECT_THAT(result, StatusIs(absl::StatusCode::kInvalidArgument));
          continue;
        }
        ASSERT_THAT(result, IsOk());
        EXPECT_EQ(result->wrong, 0) << strategy.name() << weights.name();
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
