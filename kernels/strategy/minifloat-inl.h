// Roundings to the formats of 8 and 4 bits, in registers.
#if defined(KERNELS_STRATEGY_MINIFLOAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_STRATEGY_MINIFLOAT_INL_H_
#undef KERNELS_STRATEGY_MINIFLOAT_INL_H_
#else
#define KERNELS_STRATEGY_MINIFLOAT_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A float of few bits: its fraction's, the exponent of its least normal number,
// and the largest number, at which it saturates.
struct Minifloat {
  int fraction_bits;
  int least_exponent;
  float largest;
};
// FP8 E4M3 without infinities, and FP4 E2M1: OCP MX v1.0, sections 5.3.1 and
// 5.3.3.
inline constexpr Minifloat kE4M3 = {3, -6, 448};
inline constexpr Minifloat kE2M1 = {1, 0, 6};

// 2^e, for exponents of normal f32.
constexpr float PowerOfTwo(int e) {
  float power = 1;
  for (; e > 0; --e) power *= 2;
  for (; e < 0; ++e) power /= 2;
  return power;
}

// f32 lanes rounded to the nearest, ties to even, kept as f32. NaNs stay NaNs.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V RoundToMinifloat(D d, const Minifloat& format, V v) {
  const hn::RebindToUnsigned<D> du;
  const int dropped = 23 - format.fraction_bits;
  const auto bits = hn::BitCast(du, v);
  const auto odd =
      hn::And(hn::ShiftRightSame(bits, dropped), hn::Set(du, uint32_t{1}));
  const auto half = hn::Set(du, (uint32_t{1} << (dropped - 1)) - 1);
  const auto kept = hn::Set(du, ~((uint32_t{1} << dropped) - 1));
  const V normal =
      hn::BitCast(d, hn::And(hn::Add(bits, hn::Add(odd, half)), kept));
  // Added to this, a number is rounded to the spacing of the subnormals.
  const V shift = hn::Set(
      d, 1.5f * PowerOfTwo(format.least_exponent - format.fraction_bits + 23));
  const V subnormal = hn::CopySign(hn::Sub(hn::Add(v, shift), shift), v);
  const V magnitude = hn::Abs(v);
  const auto is_small =
      hn::Lt(magnitude, hn::Set(d, PowerOfTwo(format.least_exponent)));
  V rounded = hn::IfThenElse(is_small, subnormal, normal);
  const V largest = hn::Set(d, format.largest);
  rounded = hn::IfThenElse(hn::Gt(hn::Abs(rounded), largest),
                           hn::CopySign(largest, v), rounded);
  return hn::IfThenElse(hn::IsNaN(v), hn::NaN(d), rounded);
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
