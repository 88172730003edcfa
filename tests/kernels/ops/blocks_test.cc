// Weights in blocks: panels of them hold the values that Dequantize gives,
// which tests/model/checkpoint/gguf_test.cc holds to gguf-py's, and MatMul over
// them has the bits of MatMul over these values in f32, which matmul_test.cc
// holds to the textbook.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"
#include "kernels/strategy/strategy.h"
#include "tests/kernels/ops/bits.h"
#include "tests/kernels/ops/random_blocks.h"
#include "tests/kernels/strategy/targets.h"

namespace ulpscope {
namespace {

// Of two of the largest blocks, in a whole panel and a part of one.
constexpr size_t kK = 512, kN = 72;

class BlocksOnTargetTest : public testing::TestWithParam<int64_t> {
 protected:
  BlocksOnTargetTest() : scoped_target_(GetParam()) {}

  ScopedTarget scoped_target_;
};

TEST_P(BlocksOnTargetTest, RowsAreThoseOfTheBlocks) {
  for (const BlockType& type : BlockTypes()) {
    SCOPED_TRACE(std::string(type.name));
    const RandomBlocks matrix(type, kN, kK, /*finite=*/false);
    const Panels panels = matrix.Packed();
    EXPECT_EQ(panels.view().type_name(), type.name);
    size_t negative_zeros = 0;
    for (size_t j = 0; j < kN; ++j) {
      std::vector<double> row(kK);
      panels.CopyRow(j, row.data());
      for (size_t i = 0; i < kK; ++i) {
        const double expected = matrix.values[j * kK + i];
        ASSERT_TRUE(SameBits(row[i], expected))
            << j << ", " << i << ": " << row[i] << " and " << expected;
        negative_zeros += expected == 0 && std::signbit(expected);
      }
    }
    if (type.layout.bias != 0) {
      EXPECT_GT(negative_zeros, 0u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, BlocksOnTargetTest,
                         testing::ValuesIn(RunnableTargets()), NameOfTarget);

class BlocksMatMulTest : public KernelTest {};

TEST_P(BlocksMatMulTest, HasTheBitsOfTheValuesInF32) {
  constexpr size_t kMostRows = 64;
  Random random(3);
  std::vector<double> a(kMostRows * kK), bias(kN);
  for (double& x : a) x = random.Gaussian();
  for (double& x : bias) x = random.Gaussian();
  for (const BlockType& type : BlockTypes()) {
    const RandomBlocks matrix(type, kN, kK, /*finite=*/true);
    const Panels blocks = matrix.Packed(), values = matrix.PackedValues();
    for (const size_t rows : {size_t{1}, size_t{2}, size_t{7}, kMostRows}) {
      for (const size_t threads : {1, 2}) {
        SCOPED_TRACE(absl::StrCat(type.name, ", ", rows, " rows, ", threads,
                                  " threads"));
        Parallel parallel(threads);
        std::vector<double> c[2];
        for (const bool of_blocks : {false, true}) {
          c[of_blocks].resize(rows * kN);
          MatMulArgs args;
          args.a = {a.data(), rows, kK};
          args.b = (of_blocks ? blocks : values).view();
          args.bias = bias.data();
          args.c = {c[of_blocks].data(), rows, kN};
          MatMul(strategy(), args, parallel);
        }
        for (size_t i = 0; i < rows * kN; ++i) {
          ASSERT_TRUE(SameBits(c[0][i], c[1][i]))
              << "row " << i / kN << ", output " << i % kN << ": " << c[0][i]
              << " and " << c[1][i];
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, BlocksMatMulTest,
    testing::ValuesIn(StrategiesOnTargets(Kernel::kMatMul)), NameOf);

class BlocksTuningTest : public KernelTest {};

// Of several blocks of k, of panels and of rows.
TEST_P(BlocksTuningTest, NoTuningChangesABit) {
  constexpr size_t kMostRows = 50;
  Random random(4);
  std::vector<double> a(kMostRows * kK);
  for (double& x : a) x = random.Gaussian();
  const auto pick = [&random](std::vector<uint32_t> values) {
    return values[random.Below(values.size())];
  };
  constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
  for (const BlockType& type : BlockTypes()) {
    const Panels blocks = RandomBlocks(type, kN, kK, /*finite=*/true).Packed();
    for (const size_t rows : {size_t{1}, size_t{2}, size_t{7}, kMostRows}) {
      const auto run = [&](const MatMulTuning* tuning, size_t threads) {
        Parallel parallel(threads);
        std::vector<double> c(rows * kN,
                              std::numeric_limits<double>::quiet_NaN());
        MatMulArgs args;
        args.a = {a.data(), rows, kK};
        args.b = blocks.view();
        args.c = {c.data(), rows, kN};
        args.tuning = tuning;
        MatMul(strategy(), args, parallel);
        return c;
      };
      const MatMulTuning none;
      const std::vector<double> expected = run(&none, 1);
      for (size_t i = 0; i < 6; ++i) {
        MatMulTuning tuning;
        tuning.tile_rows = pick({0, 1, 2, 5, kMost});
        tuning.block_steps = pick({1, 64, 128, 200, kMost});
        tuning.block_rows = pick({0, 1, 7, 24, kMost});
        tuning.group_panels = pick({0, 1, 2, kMost});
        tuning.prefetch_steps = pick({0, 1, 100, kMost});
        tuning.panels_in_flight = pick({0, 1, 2, 3, 4, kMost});
        tuning.threads = pick({0, 1, 2});
        const std::vector<double> c = run(&tuning, 1 + i % 2);
        for (size_t j = 0; j < c.size(); ++j) {
          ASSERT_TRUE(SameBits(c[j], expected[j]))
              << type.name << ", " << rows << " rows, " << TuningText(tuning);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, BlocksTuningTest,
    testing::ValuesIn(FixedStrategiesOnTargets(Kernel::kMatMul)), NameOf);

}  // namespace
}  // namespace ulpscope
