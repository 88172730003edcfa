// Vector exponential.
#if defined(KERNELS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_EXP_INL_H_
#undef KERNELS_EXP_INL_H_
#else
#define KERNELS_EXP_INL_H_
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
// eighth, add less than a tenth. tests/exp_test.cc asserts both.
template <class D, class V>
HWY_INLINE V ExpOrNaN(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

// The same bits for x <= 0, in two thirds of the operations: the sign of x is
// known where it is rounded to a multiple q of ln 2; y 2^q is y 2^(q + kBias),
// which is exact, times 2^-kBias, which rounds once; and where x is below the
// least that has a result, the scaled value is replaced and may be anything, but
// a NaN goes through all of it.
template <class D, class V>
HWY_INLINE V ExpOfNonPositive(D d, V x) {
  using T = hn::TFromD<D>;
  constexpr bool kIsFloat = sizeof(T) == 4;
  constexpr int kBias = kIsFloat ? 64 : 512;
  hn::impl::ExpImpl<T> exp;
  const hn::Rebind<int32_t, D> di32;
  const V scaled_x =
      hn::MulAdd(x, hn::Set(d, static_cast<T>(1.442695040888963407)),
                 hn::Set(d, static_cast<T>(-0.5)));
  hn::Vec<decltype(di32)> q;
  if constexpr (kIsFloat) {
    q = hn::ConvertInRangeTo(di32, scaled_x);
  } else {
    q = hn::DemoteInRangeTo(di32, scaled_x);
  }
  const V y = hn::Add(exp.ExpPoly(d, exp.ExpReduce(d, x, q)),
                      hn::Set(d, static_cast<T>(1)));
  const V biased =
      hn::Mul(y, exp.Pow2I(d, hn::Add(q, hn::Set(di32, kBias))));
  const V result = hn::Mul(
      biased, hn::Set(d, static_cast<T>(kIsFloat ? 0x1p-64 : 0x1p-512)));
  const V least = hn::Set(d, static_cast<T>(kIsFloat ? -104 : -1000));
  return hn::IfThenZeroElse(hn::Lt(x, least), result);
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
