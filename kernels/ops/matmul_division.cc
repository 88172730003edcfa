#include "kernels/ops/matmul_division.h"

#include <algorithm>
#include <cstddef>

#include "hwy/base.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {
namespace {

// A block of k has widened panels of this many bytes: with the operands they
// stay in L2, from where tiles read them in order. Larger blocks carry sums
// less often, and one that is all of k never does: that is worth more space.
constexpr size_t kBlockBytes = size_t{160} << 10;
constexpr size_t kWholePanelBytes = size_t{320} << 10;
// Rows of a block: their operands stay in L2 beside the panel and what tiles
// fetch of the next one. Where every block widens its panels anew, it has more
// rows if they fit, but not where its next block of k is to be there as well.
constexpr size_t kBlockRows = 96;
constexpr size_t kBlockRowsThatWiden = 192;
constexpr size_t kOperandBytes = size_t{1152} << 10;
constexpr size_t kGroupPanels = 16;
// Where sums are carried from block to block: those of a group stay in cache.
constexpr size_t kCarriedGroupPanels = 4;
// Tasks per thread at least, if there are panels enough.
constexpr size_t kTasksPerThread = 16;

// A block of k-steps is a multiple of this and so of every kBlock of a sum.
constexpr size_t kBlockStepsUnit = 64;

// The largest of the parts of nearly equal size that `all` is divided into,
// each of at most `most`. A small last one would be slow.
size_t EvenPart(size_t all, size_t most) {
  return hwy::DivCeil(all, hwy::DivCeil(all, most));
}

}  // namespace

MatMulDivision Divide(const BlockedMatMul& matmul, const MatMulTuning& tuning) {
  MatMulDivision division;
  division.tile_rows = tuning.tile_rows == 0
                           ? matmul.tile_rows
                           : EvenPart(matmul.tile_rows, tuning.tile_rows);
  // As many blocks as come nearest to these rows: two of half as many would
  // read every panel twice.
  const auto row_blocks = [&](size_t rows) {
    return std::clamp<size_t>((matmul.m + rows / 2) / rows, 1,
                              hwy::DivCeil(matmul.m, matmul.tile_rows));
  };
  const auto operands_fit = [&](size_t blocks) {
    return hwy::DivCeil(matmul.m, blocks) * division.steps *
               matmul.lane_bytes <=
           kOperandBytes;
  };

  division.row_blocks =
      row_blocks(tuning.block_rows == 0 ? kBlockRows : tuning.block_rows);
  division.steps = matmul.steps;
  const size_t step_bytes = kPanelWidth * matmul.lane_bytes;
  if (!matmul.carries) {
    // All of k, whatever its size.
  } else if (tuning.block_steps != 0) {
    division.steps = hwy::RoundUpTo(EvenPart(matmul.steps, tuning.block_steps),
                                    kBlockStepsUnit);
  } else if (matmul.steps * step_bytes > kWholePanelBytes ||
             !operands_fit(division.row_blocks)) {
    division.steps = hwy::RoundUpTo(
        EvenPart(matmul.steps, kBlockBytes / step_bytes), kBlockStepsUnit);
  }
  const bool carried = division.steps < matmul.steps;
  if (tuning.block_rows == 0 && matmul.widens && !carried) {
    const size_t fewer = row_blocks(kBlockRowsThatWiden);
    if (!matmul.carries || operands_fit(fewer)) division.row_blocks = fewer;
  }

  const size_t most_panels = tuning.group_panels != 0 ? tuning.group_panels
                             : carried                ? kCarriedGroupPanels
                                                      : kGroupPanels;
  division.group_panels = std::clamp<size_t>(
      matmul.panels * division.row_blocks / (kTasksPerThread * matmul.threads),
      1, most_panels);
  return division;
}

}  // namespace ulpscope
