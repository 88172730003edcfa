// Loads, stores and the roundings between formats, in registers.
#if defined(KERNELS_STRATEGY_ROUNDING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_STRATEGY_ROUNDING_INL_H_
#undef KERNELS_STRATEGY_ROUNDING_INL_H_
#else
#define KERNELS_STRATEGY_ROUNDING_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/base/format.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// f32 lanes rounded to the nearest bf16, ties to even, kept as f32. Integer
// arithmetic, because the CPUs' own conversions flush subnormals. NaNs stay
// (quiet) NaNs; what rounds past the largest bf16 becomes infinite.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V RoundToBF16(D d, V v) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x00400000u));
  const auto is_nan = hn::RebindMask(du, hn::IsNaN(v));
  const auto top = hn::Set(du, 0xFFFF0000u);
  return hn::BitCast(d, hn::And(hn::IfThenElse(is_nan, quiet, rounded), top));
}

// f32 lanes rounded to the nearest f16, ties to even, kept as f32: subnormals
// as well, and what rounds past 65504 becomes infinite. NaNs stay (quiet) NaNs.
// The instructions convert so whatever the CPU's modes for subnormals are, and
// every target that is built has them (AVX2 implies F16C in Highway, Arm's are
// those of Armv8): what Highway does without them makes 65536 of an infinity.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V RoundToF16(D d, V v) {
  const hn::Rebind<hwy::float16_t, D> dh;
  return hn::PromoteTo(d, hn::DemoteTo(dh, v));
}

// Two bf16 kept as f32 in the lower and the upper half of each lane.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V InPairs(D d, V lower, V upper) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::Or(hn::ShiftRight<16>(hn::BitCast(du, lower)),
                               hn::BitCast(du, upper)));
}

// Rounds lanes to a format that is no wider than they are.
template <Format kFormat, class D, class V = hn::Vec<D>>
HWY_INLINE V RoundTo(D d, V v) {
  if constexpr (std::is_same_v<hn::TFromD<D>, double>) {
    static_assert(!Has16Bits(kFormat), "16 bits are computed in f32");
    if constexpr (kFormat == Format::kF32) {
      const hn::Rebind<float, D> df;
      return hn::PromoteTo(d, hn::DemoteTo(df, v));
    }
  } else {
    static_assert(kFormat != Format::kF64, "f64 is computed in f64");
    if constexpr (kFormat == Format::kBF16) return RoundToBF16(d, v);
    if constexpr (kFormat == Format::kF16) return RoundToF16(d, v);
  }
  return v;
}

// What one PyTorch op hands to the next within what is one op here: rounded to
// results of 16 bits, and as the lanes have it otherwise, or where strategy S
// rounds once.
template <class S, class D, class V = hn::Vec<D>>
HWY_INLINE V RoundBetweenOps(D d, V v) {
  constexpr Format kResult = S::kInfo.result;
  if constexpr (Has16Bits(kResult) && !S::kInfo.rounds_once) {
    return RoundTo<kResult>(d, v);
  } else {
    return v;
  }
}

// Whether Lanes(d) elements of T fill more than the widest vector.
template <class D, typename T>
inline constexpr bool kNeedsTwoVectors =
    HWY_MAX_LANES_D(D) * sizeof(T) > HWY_MAX_BYTES;

// Lanes(d) values, or the first `left` of them, with zeros after: what is not
// asked for is not touched.
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> LoadSome(D d, const T* p) {
  return hn::LoadU(d, p);
}
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> LoadSome(D d, const T* p, size_t left) {
  return hn::LoadN(d, p, left);
}

// The same for stores.
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE void StoreSome(D d, hn::Vec<D> v, T* p) {
  hn::StoreU(v, d, p);
}
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE void StoreSome(D d, hn::Vec<D> v, T* p, size_t left) {
  hn::StoreN(v, d, p, left);
}

// How many of `left` values are beyond the first `count`.
HWY_INLINE size_t Beyond(size_t count, size_t left) {
  return left > count ? left - count : 0;
}

// Lanes(d) values of any element type as float or double lanes, or the first
// `left`, where given, and zeros: exact, except that f64 values become the
// nearest f32 where the lanes are float.
template <class D, typename T, class... Left>
HWY_INLINE hn::Vec<D> LoadWidened(D d, const T* HWY_RESTRICT p, Left... left) {
  using Lane = hn::TFromD<D>;
  if constexpr (std::is_same_v<Lane, T>) {
    return LoadSome(d, p, left...);
  } else if constexpr (kNeedsTwoVectors<D, T>) {
    const hn::Half<D> dh;
    constexpr size_t kHalf = HWY_MAX_LANES_D(hn::Half<D>);
    return hn::Combine(d, LoadWidened(dh, p + kHalf, Beyond(kHalf, left)...),
                       LoadWidened(dh, p, left...));
  } else if constexpr (std::is_same_v<Lane, float> &&
                       std::is_same_v<T, double>) {
    return hn::DemoteTo(d, LoadSome(hn::Rebind<double, D>(), p, left...));
  } else if constexpr (std::is_same_v<Lane, double> && sizeof(T) == 2) {
    const hn::Rebind<float, D> df;
    return hn::PromoteTo(
        d, hn::PromoteTo(df, LoadSome(hn::Rebind<T, D>(), p, left...)));
  } else {
    return hn::PromoteTo(d, LoadSome(hn::Rebind<T, D>(), p, left...));
  }
}

// Whether a format holds every value of a stored type.
template <Format kFormat, typename T>
inline constexpr bool kHolds =
    kFormat == Format::kF64 || (kFormat == Format::kF32 && sizeof(T) <= 4) ||
    (kFormat == Format::kF16 && std::is_same_v<T, hwy::float16_t>) ||
    (kFormat == Format::kBF16 && std::is_same_v<T, hwy::bfloat16_t>);

// An operand as a strategy reads it. A value that is wider than f32 reaches
// bf16 or f16 by way of f32: two roundings.
template <Format kOperand, class D, typename T, class... Left>
HWY_INLINE hn::Vec<D> LoadOperand(D d, const T* HWY_RESTRICT p, Left... left) {
  const auto v = LoadWidened(d, p, left...);
  if constexpr (kHolds<kOperand, T>) {
    return v;
  } else {
    return RoundTo<kOperand>(d, v);
  }
}

// Stores lanes that are already rounded to the result's format, or the first
// `left` of them.
template <class D, class... Left>
HWY_INLINE void StoreResult(D d, hn::Vec<D> v, double* HWY_RESTRICT p,
                            Left... left) {
  if constexpr (std::is_same_v<hn::TFromD<D>, double>) {
    StoreSome(d, v, p, left...);
  } else if constexpr (kNeedsTwoVectors<D, double>) {
    const hn::Half<D> dh;
    constexpr size_t kHalf = HWY_MAX_LANES_D(hn::Half<D>);
    StoreResult(dh, hn::LowerHalf(dh, v), p, left...);
    StoreResult(dh, hn::UpperHalf(dh, v), p + kHalf, Beyond(kHalf, left)...);
  } else {
    const hn::Rebind<double, D> dd;
    StoreSome(dd, hn::PromoteTo(dd, v), p, left...);
  }
}

// Calls body(d, i) for each i = 0, N, 2N, ... < count - N + 1, where N =
// Lanes(d) for the widest d of Lane, and then for the `left` < N that remain
// body(d, i, left). A body takes both as (auto d, size_t i, auto... left) and
// hands left... to its loads and stores. One that takes no third argument is
// called with a one-lane tag instead, once for each that remains. Same lanes,
// same operations: the tail's bits are those of the rest.
template <typename Lane, class Body>
HWY_INLINE void ForEachVector(size_t count, const Body& body) {
  using D = hn::ScalableTag<Lane>;
  const D d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) body(d, i);
  if constexpr (std::is_invocable_v<const Body&, D, size_t, size_t>) {
    if (i < count) body(d, i, count - i);
  } else {
    const hn::CappedTag<Lane, 1> d1;
    for (; i < count; ++i) body(d1, i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
