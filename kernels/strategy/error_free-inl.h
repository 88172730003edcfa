// Error-free transformations: a rounded result and its exact rounding error.
// Per-target include guard, see Highway's README.
#if defined(KERNELS_STRATEGY_ERROR_FREE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_STRATEGY_ERROR_FREE_INL_H_
#undef KERNELS_STRATEGY_ERROR_FREE_INL_H_
#else
#define KERNELS_STRATEGY_ERROR_FREE_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Whether additions have units of their own beside those of FMAs. AMD's Zen
// cores have two of each; where only additions run, half of them idle.
inline constexpr bool kAddersApart = HWY_TARGET == HWY_AVX3_ZEN4;

// a - b, computed where FMAs are if they would idle: b * 1 is exact, so these
// are the same bits.
template <class V>
HWY_INLINE V SubBesideAdders(V a, V b) {
  if constexpr (kAddersApart) {
    const hn::DFromV<V> d;
    return hn::NegMulAdd(b, hn::Set(d, hn::TFromD<decltype(d)>{1}), a);
  } else {
    return hn::Sub(a, b);
  }
}

// a + b = sum + err exactly, for any a and b barring overflow. Knuth 1969,
// vol. 2, 4.2.2, theorem B; 6 operations, of which a step of a compensated sum
// has half for either kind of unit: the product and these three, or the other
// three and what adds err.
template <class V>
HWY_INLINE V TwoSum(V a, V b, V& err) {
  const V sum = hn::Add(a, b);
  const V b_part = SubBesideAdders(sum, a);
  const V a_part = hn::Sub(sum, b_part);
  err = hn::Add(SubBesideAdders(a, a_part), SubBesideAdders(b, b_part));
  return sum;
}

// The same for |a| >= |b| or a = 0. Dekker 1971; 3 operations.
template <class V>
HWY_INLINE V FastTwoSum(V a, V b, V& err) {
  const V sum = hn::Add(a, b);
  err = hn::Sub(b, hn::Sub(sum, a));
  return sum;
}

// The same for a, b >= 0: FastTwoSum of the larger and the smaller, neither of
// which the sum waits for; 5 operations.
template <class V>
HWY_INLINE V TwoSumOfNonNegative(V a, V b, V& err) {
  const V sum = hn::Add(a, b);
  err = hn::Sub(hn::Min(a, b), hn::Sub(sum, hn::Max(a, b)));
  return sum;
}

// a * b = prod + err exactly, barring underflow of err. Ogita, Rump, Oishi
// 2005, algorithm 3.5 (TwoProductFMA); 2 operations.
template <class V>
HWY_INLINE V TwoProduct(V a, V b, V& err) {
  const V prod = hn::Mul(a, b);
  err = hn::MulSub(a, b, prod);
  return prod;
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
