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

// What is known of an exponential's arguments. `unbias` is 2^-bias.
template <typename T>
struct ExpRange {
  T least;  // e^x is taken for 0 below
  int bias;
  T unbias;
};

// ExpOrNaN's bits in two thirds of its operations, for arguments in a known
// range. `half` is 1/2 with the sign of x, with which x / ln 2 is rounded to q;
// q + bias must be a normal exponent for every x >= least. Then y 2^q is
// y 2^(q + bias), which is exact, times 2^-bias, which rounds once. What comes
// out for smaller x is replaced by 0; a NaN passes through all of it.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V ExpInRange(D d, V x, V half, const ExpRange<T>& range) {
  hn::impl::ExpImpl<T> impl;
  const hn::Rebind<int32_t, D> di32;
  const V multiple =
      hn::MulAdd(x, hn::Set(d, static_cast<T>(1.442695040888963407)), half);
  hn::Vec<decltype(di32)> q;
  if constexpr (sizeof(T) == 4) {
    q = hn::ConvertInRangeTo(di32, multiple);
  } else {
    q = hn::DemoteInRangeTo(di32, multiple);
  }
  const V y =
      hn::Add(impl.ExpPoly(d, impl.ExpReduce(d, x, q)), hn::Set(d, T{1}));
  const V biased =
      hn::Mul(y, impl.Pow2I(d, hn::Add(q, hn::Set(di32, range.bias))));
  const V exp = hn::Mul(biased, hn::Set(d, range.unbias));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, range.least)), exp);
}

// e^x for x <= 0, with the bits of ExpOrNaN.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V ExpOfNonPositive(D d, V x) {
  constexpr ExpRange<T> kRange =
      sizeof(T) == 4 ? ExpRange<T>{-104, 64, static_cast<T>(0x1p-64)}
                     : ExpRange<T>{-1000, 512, static_cast<T>(0x1p-512)};
  return ExpInRange(d, x, hn::Set(d, T{-0.5}), kRange);
}

// 1 + e^x, with the bits of 1 + ExpOrNaN: e^x is infinite from 89 (double: 710)
// on, and where it is taken for 0 it is far below half an ULP of 1.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V OnePlusExp(D d, V x) {
  constexpr ExpRange<T> kRange = {sizeof(T) == 4 ? -86 : -700, -1, 2};
  const V most = hn::Set(d, sizeof(T) == 4 ? T{89} : T{710});
  x = hn::IfThenElse(hn::Gt(x, most), most, x);
  const V half = hn::CopySignToAbs(hn::Set(d, T{0.5}), x);
  return hn::Add(ExpInRange(d, x, half, kRange), hn::Set(d, T{1}));
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
