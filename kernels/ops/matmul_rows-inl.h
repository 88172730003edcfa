// The tiles of a few rows of A: B is read as it is stored, several vectors or
// panels of it at once.
#if defined(KERNELS_OPS_MATMUL_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_MATMUL_ROWS_INL_H_
#undef KERNELS_OPS_MATMUL_ROWS_INL_H_
#else
#define KERNELS_OPS_MATMUL_ROWS_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/ops/block_layout.h"
#include "kernels/ops/block_widen.h"
#include "kernels/ops/matmul_states-inl.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/sum_driver-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Vectors of one row's sums at most: half of the registers.
template <class Sum>
inline constexpr size_t kMaxRowVectors = (k32Registers ? 16 : 8) /
                                         (Sum::kCompensated ? 2 : 1);
template <class Sum>
inline constexpr size_t kPanelVectors = kPanelWidth / kTileLanes<Sum>;

// Panels whose products one row's tile can add side by side.
template <class Sum>
inline constexpr size_t kMaxPanelsInFlight =
    std::clamp<size_t>(kMaxRowVectors<Sum> / kPanelVectors<Sum>, 1, 4);

// What the tile of a few rows reads: A as it is, and B in its stored type.
template <typename Lane>
struct RowsTile {
  const Lane* a;
  size_t a_stride;
  const void* b;        // panels: k rows of kPanelWidth
  size_t panel_stride;  // elements from panel to panel
  size_t k;
  // How far ahead B is fetched; 0 of blocks is kBlocksAheadBytes.
  size_t prefetch_steps;
  const BlockFns* blocks;  // of blocks, whose stride is in bytes; else null
};

// Adds k products to each of R x NV vectors of sums, which lie in NP
// neighbouring panels: each is a stream of memory of its own.
template <class Sum, Format kOperand, typename B, size_t R, size_t NV,
          size_t NP = 1>
HWY_NOINLINE void AddProducts(const RowsTile<typename Sum::Lane>& tile,
                              const States<typename Sum::Lane>& states) {
  using Lane = typename Sum::Lane;
  using D = TileTag<Sum>;
  using V = hn::Vec<D>;
  constexpr size_t kLanes = kTileLanes<Sum>;
  constexpr size_t kVectors = NV / NP;  // of a panel
  const D d;
  const Lane* HWY_RESTRICT a = tile.a;
  const B* HWY_RESTRICT b = static_cast<const B*>(tile.b);
  const size_t a_stride = tile.a_stride;
  const size_t panel_stride = tile.panel_stride;
  const size_t prefetch = tile.prefetch_steps * kPanelWidth;

  V s[R * NV], c[R * NV];
  SetZero(d, s);
  SetZero(d, c);
  const size_t k = tile.k;
  const size_t steps = hwy::DivCeil(k, Sum::kStepProducts);
  RunSteps<Sum>(d, steps, s, c, [&](size_t i) HWY_ATTR {
    const size_t at_k = i * Sum::kStepProducts;
    const B* row = b + at_k * kPanelWidth;
    HWY_UNROLL(32)
    for (size_t p = 0; p < NP; ++p) {
      HWY_UNROLL(32)
      for (size_t product = 0; product < Sum::kStepProducts; ++product) {
        const B* ahead = row + p * panel_stride + product * kPanelWidth;
        HWY_UNROLL(32)
        for (size_t at = 0; at < kVectors * kLanes;
             at += kCacheLine / sizeof(B)) {
          hwy::Prefetch(ahead + prefetch + at);
        }
      }
    }
    V bv[NV];
    HWY_UNROLL(32)
    for (size_t v = 0; v < NV; ++v) {
      bv[v] = LoadStep<Sum, kOperand>(
          d, row + v / kVectors * panel_stride + v % kVectors * kLanes,
          kPanelWidth, at_k + 1 < k);
    }
    HWY_UNROLL(32)
    for (size_t r = 0; r < R; ++r) {
      const V av = hn::Set(d, a[r * a_stride + i]);
      HWY_UNROLL(32)
      for (size_t v = 0; v < NV; ++v) {
        Sum::MulAdd(d, av, bv[v], s[r * NV + v], c[r * NV + v]);
      }
    }
  });
  StoreStates<Sum, R, NV>(d, s, c, states);
}

// The sums of `rows` rows of A with neighbouring panels: 1, 2 or 4 rows at a
// time, or 1 row with 2 or kMaxPanelsInFlight panels at once.
template <class Sum, Format kOperand, typename B>
void FewRows(size_t rows, size_t panels, const RowsTile<typename Sum::Lane>& in,
             const States<typename Sum::Lane>& states) {
  constexpr size_t kVectors = kPanelVectors<Sum>;
  constexpr size_t kMost = kMaxPanelsInFlight<Sum>;
  // One row has few chains: take many vectors. More rows share two.
  constexpr size_t kWide = std::min(kVectors, kMaxRowVectors<Sum>);
  for (size_t r = 0; r < rows;) {
    RowsTile<typename Sum::Lane> tile = in;
    tile.a += r * in.a_stride;
    const auto run = [&](auto add, size_t width) {
      for (size_t p = 0; p < panels; ++p) {
        for (size_t col = 0; col < kPanelWidth; col += width) {
          tile.b = static_cast<const B*>(in.b) + p * in.panel_stride + col;
          add(tile, states.At(r, p * kPanelWidth + col));
        }
      }
    };
    const size_t left = rows - r;
    if (left >= 4) {
      run(&AddProducts<Sum, kOperand, B, 4, kTileVectors>, kTileWidth<Sum>);
      r += 4;
      continue;
    }
    if (left >= 2) {
      run(&AddProducts<Sum, kOperand, B, 2, kTileVectors>, kTileWidth<Sum>);
      r += 2;
      continue;
    }
    if (kMost > 1 && panels == kMost) {
      AddProducts<Sum, kOperand, B, 1, kVectors * kMost, kMost>(
          tile, states.At(r, 0));
    } else if (kMost > 2 && panels == 2) {
      constexpr size_t kTwo = std::min<size_t>(kMost, 2);
      AddProducts<Sum, kOperand, B, 1, kVectors * kTwo, kTwo>(tile,
                                                              states.At(r, 0));
    } else {
      run(&AddProducts<Sum, kOperand, B, 1, kWide>, kWide * kTileLanes<Sum>);
    }
    r += 1;
  }
}

// How far ahead panels of blocks are fetched, unless that is tuned.
inline constexpr size_t kBlocksAheadBytes = 2048;

// Groups of k of a few neighbouring panels of blocks, side by side.
class BlockPanels {
 public:
  // Of steps of so many products.
  template <typename Lane>
  BlockPanels(const RowsTile<Lane>& tile, size_t panels, size_t step_products)
      : panel_(static_cast<const uint8_t*>(tile.b)),
        panels_(panels),
        stride_(tile.panel_stride),
        group_bytes_(stride_ / (tile.k / kGroup)),
        ahead_bytes_(tile.prefetch_steps == 0
                         ? kBlocksAheadBytes
                         : std::min(tile.prefetch_steps * step_products *
                                        group_bytes_ / kGroup,
                                    stride_)) {}

  // Calls f(p, panel, ahead) for every panel, with where to fetch from while
  // this group is computed with.
  template <class F>
  HWY_INLINE void ForEach(size_t group, const F& f) const {
    size_t ahead = group * group_bytes_ + ahead_bytes_;
    // Behind the panels' end come those that are next.
    if (ahead >= stride_) ahead += (panels_ - 1) * stride_;
    for (size_t p = 0; p < panels_; ++p) {
      const uint8_t* const panel = panel_ + p * stride_;
      f(p, panel, panel + ahead);
    }
  }

 private:
  const uint8_t* panel_;
  size_t panels_;
  size_t stride_;
  size_t group_bytes_;  // on average
  size_t ahead_bytes_;
};

// Adds k products to the sums of one row with NP neighbouring panels of blocks,
// which are widened a group at a time, into L1.
template <class Sum, Format kOperand, size_t NP>
HWY_NOINLINE void AddBlockProducts(const RowsTile<typename Sum::Lane>& tile,
                                   const States<typename Sum::Lane>& states) {
  using D = TileTag<Sum>;
  using V = hn::Vec<D>;
  constexpr size_t kVectors = kPanelVectors<Sum>;
  constexpr size_t kLanes = kTileLanes<Sum>;
  constexpr size_t NV = kVectors * NP;
  constexpr size_t kFloats = kGroup * kPanelWidth;
  const D d;
  const typename Sum::Lane* HWY_RESTRICT a = tile.a;
  const BlockPanels panels(tile, NP, Sum::kStepProducts);
  alignas(kBlockAlignment) float widened[NP * kFloats];

  V s[NV], c[NV];
  SetZero(d, s);
  SetZero(d, c);
  const size_t k = tile.k;
  const size_t steps = hwy::DivCeil(k, Sum::kStepProducts);
  RunSteps<Sum>(d, steps, s, c, [&](size_t i) HWY_ATTR {
    const size_t at_k = i * Sum::kStepProducts;
    const size_t in_group = at_k % kGroup;
    if (in_group == 0) {
      const size_t group = at_k / kGroup;
      panels.ForEach(group,
                     [&](size_t p, const uint8_t* panel, const uint8_t* ahead) {
                       tile.blocks->widen(panel, group, group + 1,
                                          widened + p * kFloats, ahead);
                     });
    }
    const float* const row = widened + in_group * kPanelWidth;
    const V av = hn::Set(d, a[i]);
    HWY_UNROLL(32)
    for (size_t v = 0; v < NV; ++v) {
      const V bv = LoadStep<Sum, kOperand>(
          d, row + v / kVectors * kFloats + v % kVectors * kLanes, kPanelWidth,
          at_k + 1 < k);
      Sum::MulAdd(d, av, bv, s[v], c[v]);
    }
  });
  StoreStates<Sum, 1, NV>(d, s, c, states);
}

// The same for sums of f32, without a widened copy.
inline void AddBlockProductsOfF32(const RowsTile<float>& tile, size_t panels,
                                  const States<float>& states) {
  const BlockPanels all(tile, panels, /*step_products=*/1);
  std::fill_n(states.s, panels * kPanelWidth, 0.0f);
  for (size_t group = 0; group < tile.k / kGroup; ++group) {
    all.ForEach(group,
                [&](size_t p, const uint8_t* panel, const uint8_t* ahead) {
                  tile.blocks->add_products(panel, group, group + 1,
                                            tile.a + group * kGroup,
                                            states.s + p * kPanelWidth, ahead);
                });
  }
}

// FewRows of blocks: a row alone.
template <class Sum, Format kOperand>
void OneRowOfBlocks(size_t rows, size_t panels,
                    const RowsTile<typename Sum::Lane>& in,
                    const States<typename Sum::Lane>& states) {
  constexpr size_t kTwo = std::min<size_t>(kMaxPanelsInFlight<Sum>, 2);
  HWY_DASSERT(rows == 1);
  (void)rows;
  if constexpr (std::is_same_v<Sum, F32::Sum> && kOperand == Format::kF32) {
    AddBlockProductsOfF32(in, panels, states);
    return;
  }
  RowsTile<typename Sum::Lane> tile = in;
  const auto run = [&](auto add, size_t step) {
    for (size_t p = 0; p < panels; p += step) {
      tile.b = static_cast<const uint8_t*>(in.b) + p * in.panel_stride;
      add(tile, states.At(0, p * kPanelWidth));
    }
  };
  if (kTwo > 1 && panels % kTwo == 0) {
    run(&AddBlockProducts<Sum, kOperand, kTwo>, kTwo);
  } else {
    run(&AddBlockProducts<Sum, kOperand, 1>, 1);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
