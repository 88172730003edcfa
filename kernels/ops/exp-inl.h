// Vector exponential.
#if defined(KERNELS_OPS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_EXP_INL_H_
#undef KERNELS_OPS_EXP_INL_H_
#else
#define KERNELS_OPS_EXP_INL_H_
#endif

#include <cstdint>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// e^x of float or double lanes, for x <= 104 (float) or 1000 (double): where
// e^x overflows it is infinite. Highway's polynomial uses FMA, multiplication
// and exact scaling only, so it gives the same bits on every target; it returns
// 0 for NaN, which would hide a fault.
//
// Highway's documentation says 1 ULP. It is 1.04 for float (1.0316 at -5.88269,
// the most of all floats) and 1.1 for double: the last addition rounds by half
// an ULP, the fused step before it and the reduction of x by a quarter each if
// the result is below a power of 2, and the terms of second order, which are an
// eighth, add less than a tenth. tests/kernels/ops/exp_test.cc asserts both.
//
// The kernels call the functions after it, which have its bits and need fewer
// operations because they know more of x.
template <class D, class V>
HWY_INLINE V ExpOrNaN(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

// x = q ln 2 + r with an integer q: returns e^r. `half` is 1/2 with the sign of
// x. Where x / ln 2 is no int32, q and the result may be anything, but the
// result is NaN for NaN.
template <class D, class V, class VI>
HWY_INLINE V ExpOfRest(D d, V x, V half, VI& q) {
  using T = hn::TFromD<D>;
  const hn::Rebind<int32_t, D> di32;
  const V multiple =
      hn::MulAdd(x, hn::Set(d, static_cast<T>(1.442695040888963407)), half);
  if constexpr (sizeof(T) == 4) {
    q = hn::ConvertInRangeTo(di32, multiple);
  } else {
    q = hn::DemoteInRangeTo(di32, multiple);
  }
  hn::impl::ExpImpl<T> impl;
  return hn::Add(impl.ExpPoly(d, impl.ExpReduce(d, x, q)), hn::Set(d, T{1}));
}

template <class D>
using ExponentOf = hn::Vec<hn::Rebind<int32_t, D>>;

// y 2^q of floats y from 1/2 to 2, for q from -152 to 62. Integer arithmetic
// forms the subnormal results: a product that is subnormal would take some 150
// cycles on Intel's CPUs.
template <class D, class V>
HWY_INLINE V TimesSmallPowerOf2(D d, V y, ExponentOf<D> q) {
  const hn::Rebind<int32_t, D> di;
  const auto bias = hn::Set(di, 64);
  hn::impl::ExpImpl<float> impl;
  const V biased = hn::Mul(y, impl.Pow2I(d, hn::Add(q, bias)));
  const auto bits = hn::BitCast(di, biased);
  const V normal = hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(bias)));
  // The last bit of numbers from 2^-62 to 2^-61 is 2^64 times that of subnormal
  // numbers.
  const V round = hn::Set(d, 0x1p-62f);
  const V subnormal = hn::BitCast(
      d,
      hn::Sub(hn::BitCast(di, hn::Add(biased, round)), hn::BitCast(di, round)));
  return hn::IfThenElse(hn::Lt(biased, hn::Set(d, 0x1p-62f)), subnormal,
                        normal);
}

// e^x of floats x <= 0.
template <class D, class V>
HWY_INLINE V ExpOfFarNegative(D d, V x) {
  const V least = hn::Set(d, -104.0f);  // and below: 0
  const V clamped = hn::IfThenElse(hn::Lt(x, least), least, x);
  ExponentOf<D> q;
  const V y = ExpOfRest(d, clamped, hn::Set(d, -0.5f), q);
  const V exp = TimesSmallPowerOf2(d, y, q);
  return hn::IfThenElse(hn::IsNaN(x), x, exp);
}

// e^x for x <= 0.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V ExpOfNonPositive(D d, V x) {
  const V normal = hn::Set(d, sizeof(T) == 4 ? T{-87} : T{-708});
  if (HWY_UNLIKELY(!hn::AllTrue(d, hn::Ge(x, normal)))) {
    if constexpr (sizeof(T) == 4) return ExpOfFarNegative(d, x);
    return ExpOrNaN(d, x);
  }
  ExponentOf<D> q;
  const V y = ExpOfRest(d, x, hn::Set(d, T{-0.5}), q);
  return hn::Mul(y, hn::impl::ExpImpl<T>().Pow2I(d, q));
}

// 2^x of any float or double lanes: x = q + r with q the nearest integer, both
// exact, and the polynomial of e^(r ln 2) by the steps of ExpOfRest. They bound
// the error likewise, 1.1 ULP; it is 1.04 for float (1.0246 at -0.492204994,
// the most of all r). NaN for NaN; where 2^x overflows it is infinite.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V Exp2OrNaN(D d, V x) {
  constexpr bool kIsFloat = sizeof(T) == 4;
  const V most = hn::Set(d, kIsFloat ? T{129} : T{1025});
  const V least = hn::Set(d, kIsFloat ? T{-151} : T{-1076});  // and below: 0
  V clamped = hn::IfThenElse(hn::Gt(x, most), most, x);
  clamped = hn::IfThenElse(hn::Lt(clamped, least), least, clamped);
  const V whole = hn::Round(clamped);
  const V rest = hn::Sub(clamped, whole);
  const hn::Rebind<int32_t, D> di;
  ExponentOf<D> q;
  if constexpr (kIsFloat) {
    q = hn::ConvertInRangeTo(di, whole);
  } else {
    q = hn::DemoteInRangeTo(di, whole);
  }
  hn::impl::ExpImpl<T> impl;
  // r ln 2 = r / 2 + r (ln 2 - 1/2), of which only the sum is rounded.
  const V scaled =
      hn::MulAdd(rest, hn::Set(d, static_cast<T>(0.193147180559945309)),
                 hn::Mul(rest, hn::Set(d, T{0.5})));
  const V y = hn::Add(impl.ExpPoly(d, scaled), hn::Set(d, T{1}));
  const V inner = hn::Set(d, kIsFloat ? T{125} : T{1021});
  if (HWY_LIKELY(hn::AllTrue(d, hn::Le(hn::Abs(x), inner)))) {
    return hn::Mul(y, impl.Pow2I(d, q));
  }
  V exp;
  if constexpr (kIsFloat) {
    const V up = impl.LoadExpShortRange(d, y, hn::Max(q, hn::Zero(di)));
    const V down = TimesSmallPowerOf2(d, y, hn::Min(q, hn::Zero(di)));
    exp = hn::IfThenElse(hn::Gt(whole, hn::Zero(d)), up, down);
  } else {
    exp = impl.LoadExpShortRange(d, y, q);
  }
  return hn::IfThenElse(hn::IsNaN(x), x, exp);
}

// log(x) of float or double lanes: Highway's, which gives the same bits on
// every target, within 1 ULP (0.91 of every 7th float). -inf for 0, NaN for NaN
// and for x < 0, inf for inf.
template <class D, class V>
HWY_INLINE V LogOrNaN(D d, V x) {
  using T = hn::TFromD<D>;
  const V infinity = hn::Inf(d);
  V log = hn::Log(d, x);
  log = hn::IfThenElse(hn::Eq(x, infinity), infinity, log);
  log = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), log);
  return hn::IfThenElse(hn::Ge(x, hn::Set(d, T{0})), log, hn::NaN(d));
}

// 1 + e^x. From `most` on e^x is infinite, and from `least` on down far below
// half an ULP of 1. Between them 2^(q - 1) is a normal number.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V OnePlusExp(D d, V x) {
  const V most = hn::Set(d, sizeof(T) == 4 ? T{89} : T{710});
  const V least = hn::Set(d, sizeof(T) == 4 ? T{-86} : T{-700});
  x = hn::IfThenElse(hn::Gt(x, most), most, x);
  x = hn::IfThenElse(hn::Lt(x, least), least, x);
  ExponentOf<D> q;
  const V y = ExpOfRest(d, x, hn::CopySignToAbs(hn::Set(d, T{0.5}), x), q);
  const auto less = hn::Sub(q, hn::Set(hn::Rebind<int32_t, D>(), 1));
  const V half_exp = hn::Mul(y, hn::impl::ExpImpl<T>().Pow2I(d, less));
  return hn::MulAdd(half_exp, hn::Set(d, T{2}), hn::Set(d, T{1}));
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
