// What the tiles of MatMul have in common: their vectors, the operands of a
// step and the states of sums.
#if defined(KERNELS_OPS_MATMUL_STATES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_MATMUL_STATES_INL_H_
#undef KERNELS_OPS_MATMUL_STATES_INL_H_
#else
#define KERNELS_OPS_MATMUL_STATES_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/ops/block_layout.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"

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

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
