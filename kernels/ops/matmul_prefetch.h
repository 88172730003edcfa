#ifndef KERNELS_OPS_MATMUL_PREFETCH_H_
#define KERNELS_OPS_MATMUL_PREFETCH_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/base.h"

namespace ulpscope {

inline constexpr size_t kCacheLine = 64;

// What a tile fetches into cache while it adds, in bytes: from `first` and
// from `second` in turn, a step each, and from either `stride` further on
// every time.
struct TilePrefetch {
  uintptr_t first = 0;
  uintptr_t second = 0;
  size_t stride = 0;
};

// The addresses of a tile's steps. They alternate because a second prefetch in
// every step would cost 1 % of a tile's time.
class PrefetchWalk {
 public:
  explicit PrefetchWalk(const TilePrefetch& tile)
      : at_(tile.first),
        hop_(tile.second - tile.first),
        turn_(hop_ ^ (tile.stride - hop_)) {}

  HWY_INLINE uintptr_t Next() {
    const uintptr_t at = at_;
    at_ += hop_;
    hop_ ^= turn_;
    return at;
  }

 private:
  uintptr_t at_;
  uintptr_t hop_;         // to the other stream
  const uintptr_t turn_;  // makes of the hop there the hop back
};

// hwy::Prefetch fetches to L1 as well, and pushes out what tiles are reading.
HWY_INLINE void PrefetchToL2(uintptr_t address) {
  __builtin_prefetch(reinterpret_cast<const void*>(address), /*rw=*/0,
                     /*locality=*/2);
}

// What comes after a panel's tiles have run over a block of k: each of them
// fetches its part. That is the next panel's block, and if A is not in cache,
// as many bytes of its next block as a widened panel has: in a group of 4
// panels, mostly all of it. More would push out what is in use
// (docs/performance.md).
struct PanelPrefetch {
  size_t tiles = 0;  // of a panel
  size_t steps = 0;  // of a tile

  uintptr_t b = 0;  // the next panel
  // A step's bytes in all columns, as they are stored and widened.
  size_t b_step_bytes = 0;
  size_t widened_step_bytes = 0;

  uintptr_t a = 0;     // the first of
  size_t a_tiles = 0;  // 0 where A is in cache
  size_t a_step_bytes = 0;
  size_t a_tile_bytes = 0;  // from tile to tile

  // For a tile, counted from the first of the group's first panel.
  TilePrefetch Of(size_t tile) const {
    const size_t in_panel = tile % tiles;
    // Bytes of every step.
    size_t part =
        hwy::DivCeil(std::max(b_step_bytes, widened_step_bytes), tiles);
    // Few tiles have no lines to spare.
    if (a_tiles == 0 || 2 * part > kCacheLine) {
      part = hwy::DivCeil(b_step_bytes, tiles);
      const uintptr_t from = b + in_panel * part * steps;
      return {from, from + part, 2 * part};
    }
    const size_t a_parts = hwy::DivCeil(a_step_bytes, part);
    const uintptr_t from_b = b + in_panel * part * steps;
    const uintptr_t from_a =
        a + tile / a_parts * a_tile_bytes + tile % a_parts * part * steps;
    if (tile / a_parts >= a_tiles) return {from_b, from_b, 2 * part};
    if (in_panel * part >= b_step_bytes) return {from_a, from_a, 2 * part};
    return {from_b, from_a, 2 * part};
  }
};

}  // namespace ulpscope

#endif  // KERNELS_OPS_MATMUL_PREFETCH_H_
