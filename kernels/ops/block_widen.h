#ifndef KERNELS_OPS_BLOCK_WIDEN_H_
#define KERNELS_OPS_BLOCK_WIDEN_H_

#include <cstddef>
#include <cstdint>

#include "kernels/ops/block_type.h"

namespace ulpscope {

// Of what is widened to; the widest vectors'.
inline constexpr size_t kBlockAlignment = 64;

// Writes the values of groups [first, last) of a panel of blocks, kGroup x
// kPanelWidth floats each, k by k: what a panel of f32 has there. `to` is
// aligned to kBlockAlignment. From `ahead` on about as much is fetched into
// cache meanwhile; it need not be an address of anything.
using WidenBlocksFn = void (*)(const uint8_t* panel, size_t first, size_t last,
                               float* to, const uint8_t* ahead);

WidenBlocksFn WidenBlocksOf(const BlockType& type);

}  // namespace ulpscope

#endif  // KERNELS_OPS_BLOCK_WIDEN_H_
