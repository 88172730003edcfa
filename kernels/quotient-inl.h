// Quotients of many numbers by one.
#if defined(KERNELS_QUOTIENT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_QUOTIENT_INL_H_
#undef KERNELS_QUOTIENT_INL_H_
#else
#define KERNELS_QUOTIENT_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A divisor from 1 to 2^30, and its reciprocal to almost twice the precision.
template <typename Lane>
struct Divisor {
  HWY_INLINE explicit Divisor(Lane b) : value(b) {
    const hn::CappedTag<Lane, 1> d;
    const auto v = hn::Set(d, b);
    const auto one = hn::Set(d, Lane{1});
    const auto r = hn::Div(one, v);
    reciprocal = hn::GetLane(r);
    rest = hn::GetLane(hn::Mul(hn::NegMulAdd(v, r, one), r));
  }

  Lane value;
  Lane reciprocal;  // 1 / value, rounded
  Lane rest;        // 1 / value - reciprocal, rounded
};

// a / b, rounded to nearest: the bits of hn::Div, which keeps its unit busy for
// 10 cycles per 16 floats on AVX-512 where these 4 operations take 2.
//
// q is within an ULP of a / b, the remainder a - q b exact, and with the
// rounded reciprocal r of b, q + (a - q b) r rounds to the nearest (Markstein
// 1990, theorem 8.? ; Cornea, Harrison, Tang 2002), if nothing underflows: not
// the quotient, which is at least 2^-126, nor the last bit of the remainder,
// which is at least 2^-48 a. Where an a is smaller, zero or NaN, hn::Div it is.
template <class D, class V>
HWY_INLINE V Quotient(D d, V a, const Divisor<hn::TFromD<D>>& b) {
  using T = hn::TFromD<D>;
  const V value = hn::Set(d, b.value);
  const V least =
      hn::Set(d, static_cast<T>(sizeof(T) == 4 ? 0x1p-96 : 0x1p-960));
  if (HWY_UNLIKELY(!hn::AllTrue(d, hn::Ge(a, least)))) return hn::Div(a, value);
  const V r = hn::Set(d, b.reciprocal);
  const V q = hn::MulAdd(a, r, hn::Mul(a, hn::Set(d, b.rest)));
  return hn::MulAdd(hn::NegMulAdd(q, value, a), r, q);
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
