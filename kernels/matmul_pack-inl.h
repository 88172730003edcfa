// The operands of A as MatMul's tiles read them: rounded, widened to the
// accumulators' type, and interleaved.
#if defined(KERNELS_MATMUL_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_MATMUL_PACK_INL_H_
#undef KERNELS_MATMUL_PACK_INL_H_
#else
#define KERNELS_MATMUL_PACK_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "kernels/matmul_tile-inl.h"
#include "kernels/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Two vectors of neighbours in k as pairs.
template <Format kOperand, class D, typename T>
HWY_INLINE hn::Vec<D> LoadPairs(D d, const T* p) {
  const auto lower = LoadOperand<kOperand>(d, p);
  const auto upper = LoadOperand<kOperand>(d, p + hn::Lanes(d));
  return InPairs(d, hn::ConcatEven(d, upper, lower),
                 hn::ConcatOdd(d, upper, lower));
}

// The operands of steps i, i + 1, ... of a row of k values.
template <class S, class Sum, class D, typename T, typename... Left>
HWY_INLINE hn::Vec<D> LoadSteps(D d, const T* row, size_t k, size_t i,
                                Left... left) {
  constexpr Format kOperand = S::kInfo.operand;
  if constexpr (Sum::kStepProducts == 1) {
    return LoadOperand<kOperand>(d, row + i, left...);
  } else {
    constexpr size_t kProducts = 2 * HWY_MAX_LANES_D(D);
    if (2 * i + kProducts <= k) return LoadPairs<kOperand>(d, row + 2 * i);
    HWY_ALIGN T last[kProducts] = {};
    std::copy(row + 2 * i, row + k, last);
    return LoadPairs<kOperand>(d, last);
  }
}

// A row of k values, a lane per step.
template <class S, class Sum, typename T>
void PackRow(const T* row, size_t k, typename Sum::Lane* to) {
  const size_t steps = hwy::DivCeil(k, Sum::kStepProducts);
  ForEachVector<typename Sum::Lane>(
      steps, [&](auto d, size_t i, auto... left) HWY_ATTR {
        StoreSome(d, LoadSteps<S, Sum>(d, row, k, i, left...), to + i, left...);
      });
}

// kGroupRows rows of k values: their lanes of step 0, of step 1, ...
template <class S, class Sum, typename T>
void PackRows(const T* const (&rows)[kGroupRows<Sum>], size_t k,
              typename Sum::Lane* to) {
  using Lane = typename Sum::Lane;
  constexpr size_t kGroup = kGroupRows<Sum>;
  const size_t steps = hwy::DivCeil(k, Sum::kStepProducts);
  ForEachVector<Lane>(steps, [&](auto d, size_t i, auto... left) HWY_ATTR {
    const auto load = [&](size_t r) HWY_ATTR {
      return LoadSteps<S, Sum>(d, rows[r], k, i, left...);
    };
    // Behind the last operands are those of another group.
    HWY_ALIGN Lane last[kGroup * HWY_MAX_LANES_D(decltype(d))];
    Lane* at = sizeof...(left) == 0 ? to + i * kGroup : last;
    if constexpr (kGroup == 4) {
      hn::StoreInterleaved4(load(0), load(1), load(2), load(3), d, at);
    } else {
      static_assert(kGroup == 2);
      hn::StoreInterleaved2(load(0), load(1), d, at);
    }
    if constexpr (sizeof...(left) > 0) {
      std::copy(last, last + kGroup * (steps - i), to + i * kGroup);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
