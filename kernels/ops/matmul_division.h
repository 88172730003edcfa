#ifndef KERNELS_OPS_MATMUL_DIVISION_H_
#define KERNELS_OPS_MATMUL_DIVISION_H_

#include <cstddef>

#include "kernels/ops/tuning.h"

namespace ulpscope {

// A MatMul of many rows, as far as its division into blocks depends on it.
struct BlockedMatMul {
  size_t m = 0;           // rows of A
  size_t steps = 0;       // of k
  size_t lane_bytes = 0;  // of an operand and of a sum
  size_t panels = 0;      // of B
  size_t threads = 0;
  bool widens = false;   // whether every block of rows widens B for itself
  bool carries = false;  // whether sums may be carried from block to block of k
  size_t tile_rows = 0;  // of a register tile, at most
};

// Loops, from the outside: groups of panels, blocks of rows (together a task),
// blocks of k, panels, tiles.
struct MatMulDivision {
  size_t steps = 0;         // of a block of k
  size_t row_blocks = 0;    // at most as many as there are full tiles
  size_t group_panels = 0;  // of a task
  size_t tile_rows = 0;     // at most; a full tile's in nearly equal parts
};

// What `tuning` says, or what is not tuned, the default.
MatMulDivision Divide(const BlockedMatMul& matmul, const MatMulTuning& tuning);

}  // namespace ulpscope

#endif  // KERNELS_OPS_MATMUL_DIVISION_H_
