#ifndef KERNELS_OPS_BLOCK_WIDEN_H_
#define KERNELS_OPS_BLOCK_WIDEN_H_

#include <cstddef>
#include <cstdint>

#include "kernels/ops/block_type.h"

namespace ulpscope {

// Of what is widened to; the widest vectors'.
inline constexpr size_t kBlockAlignment = 64;

// What is computed with a panel of blocks, by its type. Groups [first, last)
// are its columns from first * kGroup on. From `ahead` on about as many bytes
// as are read are fetched into cache meanwhile; it need not be an address of
// anything.
struct BlockFns {
  // Writes the values, kGroup x kPanelWidth floats a group, k by k: what a
  // panel of f32 has there. `to` is aligned to kBlockAlignment.
  void (*widen)(const uint8_t* panel, size_t first, size_t last, float* to,
                const uint8_t* ahead);
  // Adds the products of one row of A with them to kPanelWidth sums, aligned
  // likewise, as strategy f32 does: its sums of f32 need not be widened into
  // memory first. `a` is the row's element at first * kGroup.
  void (*add_products)(const uint8_t* panel, size_t first, size_t last,
                       const float* a, float* sums, const uint8_t* ahead);
};

const BlockFns& BlockFnsOf(const BlockType& type);

}  // namespace ulpscope

#endif  // KERNELS_OPS_BLOCK_WIDEN_H_
