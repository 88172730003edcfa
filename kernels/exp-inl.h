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

// Highway's exponential, with two differences. Where the range of x is known, a
// third of its operations are not needed; and a NaN stays one, where Highway
// gives 0, which would hide a fault. All other bits are those of hn::Exp, which
// tests/exp_test.cc requires: FMA, multiplication and exact scaling only, hence
// the same bits on every target.
//
// Highway's documentation says 1 ULP. It is 1.04 for float (1.0316 at -5.88269,
// the most of all floats) and 1.1 for double: the last addition rounds by half
// an ULP, the fused step before it and the reduction of x by a quarter each if
// the result is below a power of 2, and the terms of second order, which are an
// eighth, add less than a tenth. tests/exp_test.cc asserts both.

// What is known of the arguments.
template <typename T>
struct ExpRange {
  T least;   // e^x is taken for 0 below
  int bias;  // q + bias is a normal exponent for x >= least, see ExpInRange
  T unbias;  // 2^-bias
};

// `half` is 1/2 with the sign of x. x = q ln 2 + r, where q is an integer, and
// e^r 2^q is e^r 2^(q + bias), which is exact, times 2^-bias, which rounds once
// and only if the result is subnormal or infinite. What comes out for x < least
// is replaced by 0; a NaN passes through all of it.
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

// e^x for x <= 0.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V ExpOfNonPositive(D d, V x) {
  constexpr ExpRange<T> kRange =
      sizeof(T) == 4 ? ExpRange<T>{-104, 64, static_cast<T>(0x1p-64)}
                     : ExpRange<T>{-1000, 512, static_cast<T>(0x1p-512)};
  return ExpInRange(d, x, hn::Set(d, T{-0.5}), kRange);
}

// 1 + e^x. From 89 (double: 710) on e^x is infinite; where it is taken for 0 it
// is far below half an ULP of 1.
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
