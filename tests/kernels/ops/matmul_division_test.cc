#include "kernels/ops/matmul_division.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/base.h"
#include "kernels/measure/random.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {
namespace {

// f32 on AVX-512, one thread.
BlockedMatMul MatMulOf(size_t m, size_t n, size_t k, bool widens) {
  BlockedMatMul matmul;
  matmul.m = m;
  matmul.steps = k;
  matmul.lane_bytes = 4;
  matmul.panels = hwy::DivCeil(n, kPanelWidth);
  matmul.threads = 1;
  matmul.widens = widens;
  matmul.carries = true;
  matmul.tile_rows = 14;
  return matmul;
}

// What the matrix kernel relies on, whatever it is asked for.
TEST(MatMulDivisionTest, IsOneForEveryTuning) {
  constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
  Random random(1);
  const auto pick = [&](std::vector<uint32_t> values) {
    return values[random.Below(values.size())];
  };
  for (int i = 0; i < 20000; ++i) {
    BlockedMatMul matmul =
        MatMulOf(8 + random.Below(1000), 1 + random.Below(200000),
                 1 + random.Below(12000), random.Below(2) == 0);
    matmul.lane_bytes = pick({4, 8});
    matmul.threads = 1 + random.Below(100);
    matmul.carries = random.Below(4) != 0;
    matmul.tile_rows = pick({2, 6, 14});
    MatMulTuning tuning;
    tuning.tile_rows = pick({0, 1, 5, 12, kMost});
    tuning.block_steps = pick({0, 1, 100, 4096, kMost});
    tuning.block_rows = pick({0, 1, 7, 96, kMost});
    tuning.group_panels = pick({0, 1, 3, kMost});
    const MatMulDivision division = Divide(matmul, tuning);
    EXPECT_GT(division.tile_rows, 0);
    EXPECT_LE(division.tile_rows, matmul.tile_rows);
    EXPECT_GE(division.row_blocks, 1);
    EXPECT_LE(division.row_blocks, hwy::DivCeil(matmul.m, matmul.tile_rows));
    if (division.steps < matmul.steps) {
      EXPECT_TRUE(matmul.carries);
      EXPECT_GT(division.steps, 0);
      EXPECT_EQ(division.steps % 64, 0) << "a pairwise sum's block is cut";
    }
    EXPECT_GE(division.group_panels, 1);
    if (tuning.group_panels != 0) {
      EXPECT_LE(division.group_panels, tuning.group_panels);
    }
    if (HasFailure()) FAIL() << "at " << i << " " << TuningText(tuning);
  }
}

// The choices that docs/performance.md measures.
TEST(MatMulDivisionTest, KIsOneBlockWhereOperandsAndPanelFitIntoL2) {
  const auto steps = [](size_t m, size_t n, size_t k, bool widens) {
    return Divide(MatMulOf(m, n, k, widens), {}).steps;
  };
  for (const bool widens : {false, true}) {
    EXPECT_EQ(steps(512, 4864, 896, widens), 896);
    EXPECT_EQ(steps(512, 4096, 2560, widens), 2560);
    // Too many rows for one block of them, too few for two.
    EXPECT_EQ(steps(128, 4096, 2560, widens), 1280);
    EXPECT_EQ(steps(512, 896, 4864, widens), 1216);
    EXPECT_EQ(steps(512, 2560, 9728, widens), 1216);
  }
}

TEST(MatMulDivisionTest, WideningHasFewerBlocksOfRowsIfTheyFit) {
  const auto row_blocks = [](size_t k, bool widens) {
    return Divide(MatMulOf(512, 4096, k, widens), {}).row_blocks;
  };
  EXPECT_EQ(row_blocks(896, false), 5);
  EXPECT_EQ(row_blocks(896, true), 3);
  EXPECT_EQ(row_blocks(2560, true), 5);
  EXPECT_EQ(row_blocks(4864, true), 5);
}

TEST(MatMulDivisionTest, EveryThreadHasTasks) {
  for (const size_t threads : {1, 2, 16, 64}) {
    BlockedMatMul matmul = MatMulOf(512, 4096, 2560, false);
    matmul.threads = threads;
    const MatMulDivision division = Divide(matmul, {});
    EXPECT_GE(hwy::DivCeil(matmul.panels, division.group_panels) *
                  division.row_blocks,
              8 * threads);
  }
}

}  // namespace
}  // namespace ulpscope
