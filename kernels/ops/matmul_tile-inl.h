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
#include "kernels/ops/block_type.h"
#include "kernels/ops/block_widen.h"
#include "kernels/ops/matmul_prefetch.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/sum_driver-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr bool k32Registers = HWY_MAX_BYTES == 64 || HWY_ARCH_ARM_A64;
// How far ahead of its sums a tile fetches A and B from L2 to L1: B 8 to 48 do
// alike.
inline constexpr size_t kAheadSteps = 32;

// The vectors of B, and the lanes of each.
template <class Sum>
using TileTag = hn::CappedTag<typename Sum::Lane, kPanelWidth>;
template <class Sum>
inline constexpr size_t kTileLanes = HWY_MAX_LANES_D(TileTag<Sum>);

// Two vectors of outputs per row of a tile: each is an independent chain, and a
// broadcast element of A serves both.
inline constexpr size_t kTileVectors = 2;
template <class Sum>
inline constexpr size_t kTileWidth = kTileVectors* kTileLanes<Sum>;

// Rows of a tile, so that its sums, two vectors of B and what a compensated
// step needs besides fit into the registers.
template <class Sum>
inline constexpr size_t kMaxTileRows = Sum::kCompensated
                                           ? (k32Registers ? 6 : 2)
                                           : (k32Registers ? 14 : 6);

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

// Operands of one step: the value, or the values of two neighbouring rows p and
// p + stride in the halves of a lane, of which the second is zero if it is not
// there.
template <class Sum, Format kOperand, class D, typename T>
HWY_INLINE hn::Vec<D> LoadStep(D d, const T* HWY_RESTRICT p, size_t stride,
                               bool has_second) {
  if constexpr (Sum::kStepProducts == 1) {
    return LoadOperand<kOperand>(d, p);
  } else if constexpr (std::is_same_v<T, hwy::bfloat16_t>) {
    // As they are stored.
    const hn::RebindToUnsigned<D> du;
    const hn::Rebind<uint16_t, D> dh;
    const auto half = [&](const T* from) HWY_ATTR {
      return hn::PromoteTo(
          du, hn::LoadU(dh, reinterpret_cast<const uint16_t*>(from)));
    };
    const auto second =
        has_second ? hn::ShiftLeft<16>(half(p + stride)) : hn::Zero(du);
    return hn::BitCast(d, hn::Or(half(p), second));
  } else {
    static_assert(Sum::kStepProducts == 2 && kOperand == Format::kBF16);
    return InPairs(
        d, LoadOperand<kOperand>(d, p),
        has_second ? LoadOperand<kOperand>(d, p + stride) : hn::Zero(d));
  }
}

// The states of a tile's sums, row by row: c is null unless compensated.
template <typename Lane>
struct States {
  Lane* s;
  Lane* c;
  size_t stride;

  States At(size_t row, size_t col) const {
    const size_t offset = row * stride + col;
    return {s + offset, c == nullptr ? nullptr : c + offset, stride};
  }
};

// R rows of NV neighbouring vectors of states.
template <class Sum, size_t R, size_t NV, class D, class V>
HWY_INLINE void LoadStates(D d, const States<typename Sum::Lane>& states,
                           V (&s)[R * NV], V (&c)[R * NV]) {
  HWY_UNROLL(32)
  for (size_t j = 0; j < R * NV; ++j) {
    const size_t at = j / NV * states.stride + j % NV * kTileLanes<Sum>;
    s[j] = hn::LoadU(d, states.s + at);
    if constexpr (Sum::kCompensated) c[j] = hn::LoadU(d, states.c + at);
  }
}
template <class Sum, size_t R, size_t NV, class D, class V>
HWY_INLINE void StoreStates(D d, const V (&s)[R * NV], const V (&c)[R * NV],
                            const States<typename Sum::Lane>& states) {
  HWY_UNROLL(32)
  for (size_t j = 0; j < R * NV; ++j) {
    const size_t at = j / NV * states.stride + j % NV * kTileLanes<Sum>;
    hn::StoreU(s[j], d, states.s + at);
    if constexpr (Sum::kCompensated) hn::StoreU(c[j], d, states.c + at);
  }
}

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

// What the tile of a few rows reads: A as it is, and B in its stored type.
template <typename Lane>
struct RowsTile {
  const Lane* a;
  size_t a_stride;
  const void* b;        // panels: k rows of kPanelWidth
  size_t panel_stride;  // elements from panel to panel
  size_t k;
  size_t prefetch_steps;  // how far ahead B is fetched
  WidenBlocksFn widen;    // of blocks, whose stride is in bytes; else null
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
  const uint8_t* const b = static_cast<const uint8_t*>(tile.b);
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
      for (size_t p = 0; p < NP; ++p) {
        tile.widen(b + p * tile.panel_stride, group, group + 1,
                   widened + p * kFloats);
      }
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

// FewRows of blocks: a row alone.
template <class Sum, Format kOperand>
void OneRowOfBlocks(size_t rows, size_t panels,
                    const RowsTile<typename Sum::Lane>& in,
                    const States<typename Sum::Lane>& states) {
  constexpr size_t kMost = kMaxPanelsInFlight<Sum>;
  HWY_DASSERT(rows == 1);
  (void)rows;
  RowsTile<typename Sum::Lane> tile = in;
  const auto run = [&](auto add, size_t step) {
    for (size_t p = 0; p < panels; p += step) {
      tile.b = static_cast<const uint8_t*>(in.b) + p * in.panel_stride;
      add(tile, states.At(0, p * kPanelWidth));
    }
  };
  if (kMost > 1 && panels % kMost == 0) {
    run(&AddBlockProducts<Sum, kOperand, kMost>, kMost);
  } else if (kMost > 2 && panels % 2 == 0) {
    constexpr size_t kTwo = std::min<size_t>(kMost, 2);
    run(&AddBlockProducts<Sum, kOperand, kTwo>, kTwo);
  } else {
    run(&AddBlockProducts<Sum, kOperand, 1>, 1);
  }
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
