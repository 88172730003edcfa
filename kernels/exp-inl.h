// Vector exponential.
#if defined(KERNELS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_EXP_INL_H_
#undef KERNELS_EXP_INL_H_
#else
#define KERNELS_EXP_INL_H_
#endif

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

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
