// PyTorch's fast exponentials.
#if defined(KERNELS_OPS_TORCH_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_TORCH_EXP_INL_H_
#undef KERNELS_OPS_TORCH_EXP_INL_H_
#else
#define KERNELS_OPS_TORCH_EXP_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// What at::vec has for the softmax of attention: constants and operations are
// theirs, so that the bits are. Below log(2^-126), -87.34, both are 0. NaN for
// NaN here, which theirs may lose.
inline constexpr float kTorchLeastExp = -0x1.5d58ap+6f;

// exp_u20, of f32: Cody and Waite's reduction, Horner's polynomial of degree 5.
// Within 4 2^-23 of e^x, relatively, for x from -86.98 to 0, as
// tests/kernels/ops/torch_exp_test.cc asserts; 0 below that, too, as the power
// of 2 is made in halves.
template <class D, class V>
HWY_INLINE V TorchExpU20(D d, V x) {
  const hn::Rebind<int32_t, D> di;
  const V least = hn::Set(d, kTorchLeastExp);
  const V most = hn::Set(d, 0x1.62e43p+6f);
  const auto small = hn::Lt(x, least);
  V s = hn::IfThenElse(hn::Gt(x, most), most, x);
  s = hn::IfThenElse(small, least, s);
  const V power =
      hn::Floor(hn::MulAdd(s, hn::Set(d, 0x1.715476p+0f), hn::Set(d, 0.5f)));
  const V r = hn::NegMulAdd(power, hn::Set(d, 0x1.62e43p-1f), s);
  V p = hn::MulAdd(r, hn::Set(d, 0.00828929059f), hn::Set(d, 0.0418978221f));
  p = hn::MulAdd(r, p, hn::Set(d, 0.166676521f));
  p = hn::MulAdd(r, p, hn::Set(d, 0.499991506f));
  p = hn::MulAdd(r, p, hn::Set(d, 0.999999701f));
  p = hn::MulAdd(r, p, hn::Set(d, 1.0f));
  const auto exponent =
      hn::Add(hn::ConvertInRangeTo(di, power), hn::Set(di, 126));
  const V half = hn::BitCast(d, hn::ShiftLeft<23>(exponent));
  const V exp = hn::Mul(hn::Mul(p, half), hn::Set(d, 2.0f));
  return hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenZeroElse(small, exp));
}

// fexp_u20, of 16-bit types: the bits of the result are x / ln 2 as an integer,
// less a polynomial of its fraction. Within 2^-13 of e^x, relatively, for x <=
// 0; the same test asserts it.
template <class D, class V>
HWY_INLINE V TorchFastExp(D d, V x) {
  const hn::Rebind<int32_t, D> di;
  const V least = hn::Set(d, kTorchLeastExp);
  const V most = hn::Set(d, 0x1.62e43p+6f);
  const auto small = hn::Lt(x, least);
  const auto large = hn::Gt(x, most);
  const V inside = hn::IfThenZeroElse(hn::Or(small, large), x);
  const V s = hn::Mul(inside, hn::Set(d, 0x1.715476p+0f));
  const V fraction = hn::Sub(s, hn::Floor(s));
  V p = hn::MulAdd(fraction, hn::Set(d, -0.079204240219773236f),
                   hn::Set(d, -0.22433836478672356f));
  p = hn::MulAdd(fraction, p, hn::Set(d, 0.30354260500649682f));
  p = hn::MulAdd(fraction, p, hn::Set(d, 0.00010703434948458272f));
  const V bits =
      hn::MulAdd(hn::Set(d, 0x1p23f), hn::Sub(s, p), hn::Set(d, 127 * 0x1p23f));
  const V exp = hn::BitCast(d, hn::ConvertInRangeTo(di, bits));
  const V infinite = hn::IfThenElse(large, hn::Inf(d), exp);
  return hn::IfThenElse(hn::IsNaN(x), x, hn::IfThenZeroElse(small, infinite));
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
