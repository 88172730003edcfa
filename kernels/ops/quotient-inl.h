// Quotients of many numbers by one.
#if defined(KERNELS_OPS_QUOTIENT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_QUOTIENT_INL_H_
#undef KERNELS_OPS_QUOTIENT_INL_H_
#else
#define KERNELS_OPS_QUOTIENT_INL_H_
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

// a / b for floats of which some are below 2^-126 b, so that their quotients
// are subnormal: those are rounded in units of 2^-149, without an operand or a
// result that is subnormal, as each would take some 150 cycles on Intel's CPUs.
template <class D, class V>
HWY_INLINE V QuotientOrSubnormal(D d, V a, const Divisor<float>& b) {
  const hn::Rebind<int32_t, D> di;
  const V value = hn::Set(d, b.value);
  const auto tiny = hn::Lt(a, hn::Set(d, 0x1p-126f * b.value));
  const V normal = hn::Div(hn::IfThenZeroElse(tiny, a), value);
  // 2^149 a: subnormal numbers are the integers that their bits are.
  const V small = hn::IfThenElseZero(tiny, a);
  const auto bits = hn::BitCast(di, small);
  const auto raised = hn::Add(bits, hn::ShiftLeft<23>(hn::Set(di, 149)));
  const V units =
      hn::IfThenElse(hn::RebindMask(d, hn::Lt(bits, hn::Set(di, 1 << 23))),
                     hn::ConvertTo(d, bits), hn::BitCast(d, raised));
  // Rounded to an integer, which may be the wrong neighbour, unless the
  // quotient is exactly halfway; the remainder, which is exact, tells.
  const V shift = hn::Set(d, 0x1p23f);
  const V q = hn::MulAdd(units, hn::Set(d, b.reciprocal),
                         hn::Mul(units, hn::Set(d, b.rest)));
  const V rounded = hn::Sub(hn::Add(q, shift), shift);
  const V rest = hn::NegMulAdd(rounded, value, units);
  const V half = hn::Set(d, 0.5f * b.value);
  const V one = hn::Set(d, 1.0f);
  const V up = hn::IfThenElseZero(hn::Gt(rest, half), one);
  const V down = hn::IfThenElseZero(hn::Lt(rest, hn::Neg(half)), one);
  const V integer = hn::Add(rounded, hn::Sub(up, down));
  const V subnormal = hn::BitCast(d, hn::ConvertInRangeTo(di, integer));
  return hn::IfThenElse(tiny, subnormal, normal);
}

// a / b rounded to nearest: the bits of hn::Div, which takes 11 cycles per 16
// floats on an AVX-512 Xeon, where this takes 4.
//
// q is one of the two neighbours of a / b, so that the remainder a - q b is
// exact; and q plus the remainder times r, the rounded reciprocal of b, rounds
// to the number nearest to a / b (Markstein 1990): it misses a / b by
// (a - q b)(1/b - r), which is less than the distance of any a / b from a
// number halfway between neighbours. That is, if nothing underflows: not the
// quotient, which is 2^-126 (double: 2^-1022) or more, and not the remainder's
// last bit, which is 2^-48 (2^-106) of a or more. Other a but 0 are divided.
template <class D, class V>
HWY_INLINE V Quotient(D d, V a, const Divisor<hn::TFromD<D>>& b) {
  using T = hn::TFromD<D>;
  const V value = hn::Set(d, b.value);
  const V least =
      hn::Set(d, static_cast<T>(sizeof(T) == 4 ? 0x1p-96 : 0x1p-960));
  const auto large = hn::Ge(a, least);
  if (HWY_UNLIKELY(!hn::AllTrue(d, large)) &&
      !hn::AllTrue(d, hn::Or(large, hn::Eq(a, hn::Zero(d))))) {
    if constexpr (sizeof(T) == 4) return QuotientOrSubnormal(d, a, b);
    return hn::Div(a, value);
  }
  const V r = hn::Set(d, b.reciprocal);
  const V q = hn::MulAdd(a, r, hn::Mul(a, hn::Set(d, b.rest)));
  return hn::MulAdd(hn::NegMulAdd(q, value, a), r, q);
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
