// Loads, stores and the roundings between formats, in registers.
#if defined(KERNELS_ROUNDING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_ROUNDING_INL_H_
#undef KERNELS_ROUNDING_INL_H_
#else
#define KERNELS_ROUNDING_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/strategy.h"

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
    static_assert(kFormat != Format::kBF16, "bf16 is computed in f32");
    if constexpr (kFormat == Format::kF32) {
      const hn::Rebind<float, D> df;
      return hn::PromoteTo(d, hn::DemoteTo(df, v));
    }
  } else {
    static_assert(kFormat != Format::kF64, "f64 is computed in f64");
    if constexpr (kFormat == Format::kBF16) return RoundToBF16(d, v);
  }
  return v;
}

// Whether Lanes(d) elements of T fill more than the widest vector.
template <class D, typename T>
inline constexpr bool kNeedsTwoVectors =
    HWY_MAX_LANES_D(D) * sizeof(T) > HWY_MAX_BYTES;

// Lanes(d) values of any element type as float or double lanes: exact, except
// that f64 values become the nearest f32 where the lanes are float.
template <class D, typename T>
HWY_INLINE hn::Vec<D> LoadWidened(D d, const T* HWY_RESTRICT p) {
  using Lane = hn::TFromD<D>;
  if constexpr (std::is_same_v<Lane, T>) {
    return hn::LoadU(d, p);
  } else if constexpr (kNeedsTwoVectors<D, T>) {
    const hn::Half<D> dh;
    constexpr size_t kHalf = HWY_MAX_LANES_D(hn::Half<D>);
    return hn::Combine(d, LoadWidened(dh, p + kHalf), LoadWidened(dh, p));
  } else if constexpr (std::is_same_v<Lane, float> &&
                       std::is_same_v<T, double>) {
    return hn::DemoteTo(d, hn::LoadU(hn::Rebind<double, D>(), p));
  } else if constexpr (std::is_same_v<Lane, double> && sizeof(T) == 2) {
    const hn::Rebind<float, D> df;
    return hn::PromoteTo(d,
                         hn::PromoteTo(df, hn::LoadU(hn::Rebind<T, D>(), p)));
  } else {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<T, D>(), p));
  }
}

// An operand as a strategy reads it. A value that is wider than f32 reaches
// bf16 by way of f32: two roundings.
template <Format kOperand, class D, typename T>
HWY_INLINE hn::Vec<D> LoadOperand(D d, const T* HWY_RESTRICT p) {
  const auto v = LoadWidened(d, p);
  constexpr bool kStoredAsBF16 = std::is_same_v<T, hwy::bfloat16_t>;
  constexpr bool kStoredWithinF32 = sizeof(T) <= 4;
  if constexpr ((kOperand == Format::kBF16 && kStoredAsBF16) ||
                (kOperand == Format::kF32 && kStoredWithinF32)) {
    return v;
  } else {
    return RoundTo<kOperand>(d, v);
  }
}

// Stores lanes that are already rounded to the result's format.
template <class D, typename T>
HWY_INLINE void StoreResult(D d, hn::Vec<D> v, T* HWY_RESTRICT p) {
  if constexpr (std::is_same_v<hn::TFromD<D>, T>) {
    hn::StoreU(v, d, p);
  } else if constexpr (kNeedsTwoVectors<D, T>) {
    const hn::Half<D> dh;
    constexpr size_t kHalf = HWY_MAX_LANES_D(hn::Half<D>);
    StoreResult(dh, hn::LowerHalf(dh, v), p);
    StoreResult(dh, hn::UpperHalf(dh, v), p + kHalf);
  } else if constexpr (sizeof(T) == 8) {
    const hn::Rebind<double, D> dd;
    hn::StoreU(hn::PromoteTo(dd, v), dd, p);
  } else {
    const hn::Rebind<float, D> df;
    hn::StoreU(hn::DemoteTo(df, v), df, p);
  }
}

// Calls body(d, i) for each i = 0, N, 2N, ... < count - N + 1, and then with a
// one-lane tag for what is left, where N = Lanes(d) for the widest d of Lane.
// Same lanes, same operations: the tail's bits are those of the body.
template <typename Lane, class Body>
HWY_INLINE void ForEachVector(size_t count, const Body& body) {
  const hn::ScalableTag<Lane> d;
  const hn::CappedTag<Lane, 1> d1;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) body(d, i);
  for (; i < count; ++i) body(d1, i);
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
