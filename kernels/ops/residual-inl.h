// The residual stream's addition under a strategy.
#if defined(KERNELS_OPS_RESIDUAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_RESIDUAL_INL_H_
#undef KERNELS_OPS_RESIDUAL_INL_H_
#else
#define KERNELS_OPS_RESIDUAL_INL_H_
#endif

#include <cstddef>
#include <type_traits>

#include "hwy/base.h"
#include "hwy/highway.h"
#include "kernels/ops/residual.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/error_free-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/strategy.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class S>
struct AddResidualImpl {
  static void Run(const double* HWY_RESTRICT update, size_t n,
                  double* HWY_RESTRICT stream, double* HWY_RESTRICT carry) {
    using Lane = typename S::Sum::Lane;
    constexpr Format kOperand = S::kInfo.operand;
    ForEachVector<Lane>(n, [&](auto d, size_t i, auto... left) HWY_ATTR {
      using V = hn::Vec<decltype(d)>;
      const V x = LoadOperand<kOperand>(d, stream + i, left...);
      const V u = LoadOperand<kOperand>(d, update + i, left...);
      V sum, rest;
      if constexpr (std::is_same_v<typename S::Sum, KahanBabuskaNeumaier>) {
        V err;
        const V rounded = TwoSum(x, u, err);
        sum = FastTwoSum(
            rounded, hn::Add(err, LoadWidened(d, carry + i, left...)), rest);
      } else if constexpr (S::kInfo.reads_carry) {
        // Not taken: the carry is the next norm's alone.
        const V full = hn::Add(x, u);
        sum = RoundToBF16(d, full);
        rest = hn::IfThenElseZero(hn::IsFinite(sum), hn::Sub(full, sum));
      } else if constexpr (sizeof(Lane) == 8 &&
                           S::kInfo.result == Format::kF32) {
        const V full =
            hn::Add(hn::Add(x, LoadWidened(d, carry + i, left...)), u);
        sum = RoundTo<Format::kF32>(d, full);
        rest = hn::Sub(full, sum);
      } else if constexpr (S::kInfo.result == Format::kF64) {
        sum = hn::Add(hn::Add(x, LoadWidened(d, carry + i, left...)), u);
        rest = hn::Zero(d);
      } else {
        sum = RoundTo<S::kInfo.result>(d, hn::Add(x, u));
        rest = hn::Zero(d);
      }
      StoreResult(d, sum, stream + i, left...);
      StoreResult(d, rest, carry + i, left...);
    });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
