// The register tiles of MatMul: a few rows of A times a few vectors of B, the
// sums in registers while k runs.
#if defined(KERNELS_OPS_MATMUL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_MATMUL_TILE_INL_H_
#undef KERNELS_OPS_MATMUL_TILE_INL_H_
#else
#define KERNELS_OPS_MATMUL_TILE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/ops/matmul_prefetch.h"
#include "kernels/ops/matmul_rows-inl.h"
#include "kernels/ops/matmul_states-inl.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/sum_driver-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// What the tile of packed operands reads.
template <typename Lane>
struct PackedTile {
  const Lane* a;       // rows interleaved: `steps` times kMaxTileRows of them
  const void* stored;  // B: rows of kPanelWidth, as it is stored
  size_t stored_rows;
  Lane* b;  // `steps` rows of kTileWidth, widened and rounded
  size_t b_stride;
  size_t steps;
  TilePrefetch prefetch;  // what to fetch into cache meanwhile
  bool from_zero;         // whether the sums start here, and are not loaded
};

// Widens the vectors of a tile's step i, rounded to kOperand, and keeps them in
// tile.b.
template <class Sum, Format kOperand, typename B, class D, class V>
HWY_INLINE void WidenStep(D d, const B* HWY_RESTRICT stored, size_t stored_rows,
                          typename Sum::Lane* HWY_RESTRICT b, size_t i,
                          V (&bv)[kTileVectors]) {
  const size_t row = i * Sum::kStepProducts;
  HWY_UNROLL(32)
  for (size_t v = 0; v < kTileVectors; ++v) {
    const size_t at = v * kTileLanes<Sum>;
    bv[v] = LoadStep<Sum, kOperand>(d, stored + row * kPanelWidth + at,
                                    kPanelWidth, row + 1 < stored_rows);
    hn::Store(bv[v], d, b + i * kTileWidth<Sum> + at);
  }
}

template <class Sum, Format kOperand, typename B>
void WidenTile(const PackedTile<typename Sum::Lane>& tile) {
  const TileTag<Sum> d;
  const B* stored = static_cast<const B*>(tile.stored);
  hn::Vec<TileTag<Sum>> bv[kTileVectors];
  for (size_t i = 0; i < tile.steps; ++i) {
    WidenStep<Sum, kOperand>(d, stored, tile.stored_rows, tile.b, i, bv);
  }
}

// Adds k products to each of R x kTileVectors vectors of sums; load_b(d, i, bv)
// loads step i of B.
template <class Sum, size_t R, class LoadB>
HWY_INLINE void AddPacked(const PackedTile<typename Sum::Lane>& tile,
                          const States<typename Sum::Lane>& states,
                          const LoadB& load_b) {
  using V = hn::Vec<TileTag<Sum>>;
  using Lane = typename Sum::Lane;
  constexpr size_t kStepRows = kMaxTileRows<Sum>;
  const TileTag<Sum> d;
  const Lane* HWY_RESTRICT a = tile.a;
  PrefetchWalk ahead(tile.prefetch);

  V s[R * kTileVectors], c[R * kTileVectors];
  SetZero(d, s);
  SetZero(d, c);
  if (!Sum::kTree && !tile.from_zero) {
    LoadStates<Sum, R, kTileVectors>(d, states, s, c);
  }
  RunSteps<Sum>(d, tile.steps, s, c, [&](size_t i) HWY_ATTR {
    PrefetchToL2(ahead.Next());
    // A compensated step is long enough to hide where it reads from.
    if constexpr (!Sum::kCompensated) {
      HWY_UNROLL(8)
      for (size_t at = 0; at < R * sizeof(Lane); at += kCacheLine) {
        hwy::Prefetch(a + (i + kAheadSteps) * kStepRows + at / sizeof(Lane));
      }
    }
    V bv[kTileVectors];
    load_b(d, i, bv);
    HWY_UNROLL(32)
    for (size_t r = 0; r < R; ++r) {
      const V av = hn::Set(d, a[i * kStepRows + r]);
      HWY_UNROLL(32)
      for (size_t v = 0; v < kTileVectors; ++v) {
        const size_t j = r * kTileVectors + v;
        Sum::MulAdd(d, av, bv[v], s[j], c[j]);
      }
    }
  });
  StoreStates<Sum, R, kTileVectors>(d, s, c, states);
}

template <typename Lane>
using PackedTileFn = void (*)(const PackedTile<Lane>&, const States<Lane>&);

// Reads tile.b.
template <class Sum, size_t R>
HWY_NOINLINE void AddWidened(const PackedTile<typename Sum::Lane>& tile,
                             const States<typename Sum::Lane>& states) {
  const typename Sum::Lane* HWY_RESTRICT b = tile.b;
  const size_t b_stride = tile.b_stride;
  AddPacked<Sum, R>(tile, states, [=](auto d, size_t i, auto& bv) HWY_ATTR {
    HWY_UNROLL(32)
    for (size_t v = 0; v < kTileVectors; ++v) {
      bv[v] = hn::LoadU(d, b + i * b_stride + v * kTileLanes<Sum>);
      // Once per cache line: two vectors of AVX2 share one.
      const size_t at = v * kTileLanes<Sum>;
      if (at * sizeof(*b) % kCacheLine == 0) {
        hwy::Prefetch(b + (i + kAheadSteps) * b_stride + at);
      }
    }
  });
}

// AddWidened for 1, 2, ... rows.
template <class Sum, size_t... kRowsLess1>
PackedTileFn<typename Sum::Lane> AddWidenedRows(
    size_t rows, std::index_sequence<kRowsLess1...> /*rows*/) {
  static constexpr PackedTileFn<typename Sum::Lane> kFns[] = {
      &AddWidened<Sum, kRowsLess1 + 1>...};
  return kFns[rows - 1];
}

// Widens tile.stored into tile.b for the tiles that follow, in the shadow of
// the first tile's products: R of them per step.
template <class Sum, Format kOperand, typename B, size_t R>
HWY_NOINLINE void WidenAndAdd(const PackedTile<typename Sum::Lane>& tile,
                              const States<typename Sum::Lane>& states) {
  const B* stored = static_cast<const B*>(tile.stored);
  const size_t stored_rows = tile.stored_rows;
  typename Sum::Lane* b = tile.b;
  AddPacked<Sum, R>(tile, states, [=](auto d, size_t i, auto& bv) HWY_ATTR {
    WidenStep<Sum, kOperand>(d, stored, stored_rows, b, i, bv);
  });
}

// A block's first tile may have a few rows less than others do, and still widen
// B in passing. Where sums are compensated, that saves next to nothing.
inline constexpr size_t kFusedTiles = 5;

// What depends on the type that B is stored in.
template <typename Lane>
struct StoredFns {
  void (*few_rows)(size_t, size_t, const RowsTile<Lane>&, const States<Lane>&);
  // Null where panels are stored as tiles read them.
  void (*widen)(const PackedTile<Lane>&);
  // Of as many rows less than kMaxTileRows: null if there is none.
  PackedTileFn<Lane> widen_and_add[kFusedTiles];
};

template <class Sum, Format kOperand, typename B, size_t... kLess>
void FuseTiles([[maybe_unused]] StoredFns<typename Sum::Lane>& fns,
               std::index_sequence<kLess...> /*less*/) {
  static_assert(sizeof...(kLess) <= kMaxTileRows<Sum>);
  ((fns.widen_and_add[kLess] =
        &WidenAndAdd<Sum, kOperand, B, kMaxTileRows<Sum> - kLess>),
   ...);
}

// Strategies that read B alike share their tiles: where B needs no rounding,
// the operand's format is that of the lanes.
template <class S, class Sum, typename B>
StoredFns<typename Sum::Lane> FnsOf() {
  using Lane = typename Sum::Lane;
  constexpr Format kLane = sizeof(Lane) == 8 ? Format::kF64 : Format::kF32;
  constexpr Format kOperand =
      kHolds<S::kInfo.operand, B> ? kLane : S::kInfo.operand;
  StoredFns<Lane> fns = {&FewRows<Sum, kOperand, B>, nullptr, {}};
  if constexpr (!std::is_same_v<B, Lane> || kOperand != kLane ||
                Sum::kStepProducts != 1) {
    fns.widen = &WidenTile<Sum, kOperand, B>;
    // Only keys and values are stored in f64, whose MatMuls have a row for each
    // head of a group: seldom as many as a block.
    constexpr size_t kFused = sizeof(B) == 8      ? 0
                              : Sum::kCompensated ? 1
                                                  : kFusedTiles;
    FuseTiles<Sum, kOperand, B>(fns, std::make_index_sequence<kFused>());
  }
  return fns;
}

// Of blocks: a row alone widens them in passing; more rows get them as f32.
template <class S, class Sum>
StoredFns<typename Sum::Lane> FnsOfBlocks() {
  constexpr Format kLane =
      sizeof(typename Sum::Lane) == 8 ? Format::kF64 : Format::kF32;
  constexpr Format kOperand =
      kHolds<S::kInfo.operand, float> ? kLane : S::kInfo.operand;
  StoredFns<typename Sum::Lane> fns = FnsOf<S, Sum, float>();
  fns.few_rows = &OneRowOfBlocks<Sum, kOperand>;
  return fns;
}

template <class S, class Sum>
StoredFns<typename Sum::Lane> FnsFor(const PanelsView& b) {
  if (b.blocks != nullptr) return FnsOfBlocks<S, Sum>();
  switch (b.dtype) {
    case DType::kF64:
      return FnsOf<S, Sum, double>();
    case DType::kF32:
      return FnsOf<S, Sum, float>();
    case DType::kF16:
      return FnsOf<S, Sum, hwy::float16_t>();
    case DType::kBF16:
      return FnsOf<S, Sum, hwy::bfloat16_t>();
  }
  HWY_ABORT("DType %d", static_cast<int>(b.dtype));
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
