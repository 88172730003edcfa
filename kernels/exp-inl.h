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

// e^x of float or double lanes for x <= 88 (float) or 709 (double), within the
// ULP bound that tests/exp_test.cc asserts. Highway's polynomial uses FMA,
// multiplication and exact scaling only, so it gives the same bits on every
// target; it returns 0 for NaN, which would hide a fault.
template <class D, class V>
HWY_INLINE V ExpOrNaN(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
