// The operands of A as MatMul's tiles read them: rounded, widened to the
// accumulators' type, and interleaved.
#if defined(KERNELS_OPS_MATMUL_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_MATMUL_PACK_INL_H_
#undef KERNELS_OPS_MATMUL_PACK_INL_H_
#else
#define KERNELS_OPS_MATMUL_PACK_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "kernels/ops/matmul_prefetch.h"
#include "kernels/ops/matmul_tile-inl.h"
#include "kernels/strategy/rounding-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Two vectors of neighbours in k as pairs.
template <Format kOperand, class D>
HWY_INLINE hn::Vec<D> LoadPairs(D d, const double* p) {
  const auto lower = LoadOperand<kOperand>(d, p);
  const auto upper = LoadOperand<kOperand>(d, p + hn::Lanes(d));
  return InPairs(d, hn::ConcatEven(d, upper, lower),
                 hn::ConcatOdd(d, upper, lower));
}

// The operands of steps i, i + 1, ... of a row of k values.
template <class S, class Sum, class D, typename... Left>
HWY_INLINE hn::Vec<D> LoadSteps(D d, const double* row, size_t k, size_t i,
                                Left... left) {
  constexpr Format kOperand = S::kInfo.operand;
  if constexpr (Sum::kStepProducts == 1) {
    return LoadOperand<kOperand>(d, row + i, left...);
  } else {
    constexpr size_t kProducts = 2 * HWY_MAX_LANES_D(D);
    if (2 * i + kProducts <= k) return LoadPairs<kOperand>(d, row + 2 * i);
    HWY_ALIGN double last[kProducts] = {};
    std::copy(row + 2 * i, row + k, last);
    return LoadPairs<kOperand>(d, last);
  }
}

// A row of k values, a lane per step.
template <class S, class Sum>
void PackRow(const double* row, size_t k, typename Sum::Lane* to) {
  const size_t steps = hwy::DivCeil(k, Sum::kStepProducts);
  ForEachVector<typename Sum::Lane>(
      steps, [&](auto d, size_t i, auto... left) HWY_ATTR {
        StoreSome(d, LoadSteps<S, Sum>(d, row, k, i, left...), to + i, left...);
      });
}

// Stores lanes of kRows rows interleaved: those of lane l at to + l * stride,
// of the first `count` lanes.
template <size_t kRows, class D, class Load>
HWY_INLINE void StoreInterleaved(D d, const Load& load, size_t count,
                                 size_t stride, hn::TFromD<D>* to) {
  HWY_ALIGN hn::TFromD<D> lanes[kRows * HWY_MAX_LANES_D(D)];
  if constexpr (kRows == 4) {
    hn::StoreInterleaved4(load(0), load(1), load(2), load(3), d, lanes);
  } else {
    static_assert(kRows == 2);
    hn::StoreInterleaved2(load(0), load(1), d, lanes);
  }
  for (size_t l = 0; l < count; ++l) {
    hwy::CopyBytes<kRows * sizeof(hn::TFromD<D>)>(lanes + l * kRows,
                                                  to + l * stride);
  }
}

// Fetches values [first, first + n) of `count` rows, which may end before: more
// rows side by side than a CPU's own prefetchers follow.
template <size_t kRows>
HWY_INLINE void FetchAhead(const double* const (&rows)[kRows], size_t count,
                           size_t first, size_t n) {
  for (size_t r = 0; r < count; ++r) {
    const uintptr_t from =
        reinterpret_cast<uintptr_t>(rows[r]) + first * sizeof(double);
    for (size_t at = 0; at < n * sizeof(double); at += kCacheLine) {
      hwy::Prefetch(reinterpret_cast<const char*>(from + at));
    }
  }
}

// `count` rows of a tile, k values each: room for kMaxTileRows lanes of step 0,
// of step 1, ...
template <class S, class Sum>
void PackRows(const double* const (&rows)[kMaxTileRows<Sum>], size_t count,
              size_t k, typename Sum::Lane* to) {
  constexpr size_t kRows = kMaxTileRows<Sum>;
  const size_t steps = hwy::DivCeil(k, Sum::kStepProducts);
  ForEachVector<typename Sum::Lane>(
      steps, [&](auto d, size_t i, auto... left) HWY_ATTR {
        const size_t lanes =
            sizeof...(left) == 0 ? HWY_MAX_LANES_D(decltype(d)) : steps - i;
        const auto from = [&](size_t first) HWY_ATTR {
          return [&, first](size_t r) HWY_ATTR {
            return LoadSteps<S, Sum>(d, rows[first + r], k, i, left...);
          };
        };
        const size_t terms = hn::Lanes(d) * Sum::kStepProducts;
        FetchAhead(rows, count, i * Sum::kStepProducts + 2 * terms, terms);
        size_t r = 0;
        for (; r + 4 <= kRows && r < count; r += 4) {
          StoreInterleaved<4>(d, from(r), lanes, kRows, to + i * kRows + r);
        }
        if constexpr (kRows % 4 != 0) {
          if (r >= count) return;
          StoreInterleaved<2>(d, from(r), lanes, kRows, to + i * kRows + r);
        }
      });
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
