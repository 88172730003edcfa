// RMSNorm under a strategy.
#if defined(KERNELS_OPS_RMSNORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_RMSNORM_INL_H_
#undef KERNELS_OPS_RMSNORM_INL_H_
#else
#define KERNELS_OPS_RMSNORM_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/base.h"
#include "hwy/highway.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/rmsnorm.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/strategy.h"
#include "kernels/strategy/sum_driver-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// inverse[r] = 1 / sqrt(mean of squares + eps) of rows [row, row + kRows).
template <class S, class Sum, size_t kRows>
HWY_INLINE void InverseRms(const RmsNormArgs& args, size_t row,
                           typename Sum::Lane* inverse) {
  using Lane = typename Sum::Lane;
  const size_t n = args.x.cols;
  const double* const x = args.x.Row(row);
  const size_t stride = args.x.stride;
  Lane sums[kRows];
  RowSums<Sum>(
      n,
      [&](auto d, size_t r, size_t i, auto& s, auto& c, auto... left) HWY_ATTR {
        const auto v =
            LoadOperand<S::kInfo.operand>(d, x + r * stride + i, left...);
        Sum::AddSquare(d, v, s, c);
      },
      sums);
  // Scalars would wait for each other at the divider.
  const hn::CappedTag<Lane, kRows> drows;
  for (size_t r = 0; r < kRows; r += hn::Lanes(drows)) {
    const auto mean = hn::Div(hn::LoadU(drows, sums + r),
                              hn::Set(drows, static_cast<Lane>(n)));
    const auto rms =
        hn::Sqrt(hn::Add(mean, hn::Set(drows, static_cast<Lane>(args.eps))));
    hn::StoreU(hn::Div(hn::Set(drows, Lane{1}), rms), drows, inverse + r);
  }
}

// y = w * (x * inverse) for rows [row, row + kRows).
template <class S, size_t kRows, typename Lane>
HWY_INLINE void ScaleRows(const RmsNormArgs& args, size_t row,
                          const Lane* inverse) {
  constexpr Format kOperand = S::kInfo.operand;
  constexpr Format kResult = S::kInfo.result;
  const double* const x = args.x.Row(row);
  double* const y = args.y.Row(row);
  const size_t x_stride = args.x.stride;
  const size_t y_stride = args.y.stride;
  const double* HWY_RESTRICT weight = args.weight;
  ForEachVector<Lane>(args.x.cols, [&](auto d, size_t i,
                                       auto... left) HWY_ATTR {
    const auto w = LoadOperand<kOperand>(d, weight + i, left...);
    HWY_UNROLL(4)
    for (size_t r = 0; r < kRows; ++r) {
      auto v = hn::Mul(LoadOperand<kOperand>(d, x + r * x_stride + i, left...),
                       hn::Set(d, inverse[r]));
      v = RoundBetweenOps<kResult>(d, v);
      StoreResult(d, RoundTo<kResult>(d, hn::Mul(w, v)), y + r * y_stride + i,
                  left...);
    }
  });
}

// Rows [row, end): whole groups of kRows. A group is scaled after the next
// one's squares are summed.
template <class S, class Sum, size_t kRows>
void NormalizeRows(const RmsNormArgs& args, size_t row, size_t end) {
  typename Sum::Lane inverse[kRows] = {}, next[kRows] = {};
  for (size_t r = row; r < end + kRows; r += kRows) {
    if (r < end) InverseRms<S, Sum, kRows>(args, r, next);
    if (r > row) ScaleRows<S, kRows>(args, r - kRows, inverse);
    std::copy(next, next + kRows, inverse);
  }
}

// A task has at least this many values, which take a microsecond or two: as
// long as it takes to hand a task to another thread. Heads of 128 values, a
// decoded token's q_norm and k_norm, are thus normalized by the caller.
inline constexpr size_t kTaskValues = 8192;

template <class S>
struct RmsNormImpl {
  static void Run(const RmsNormArgs& args, Parallel& parallel) {
    const size_t rows = args.x.rows;
    ChooseSum<S>(args.x.cols, [&](auto sum) HWY_ATTR {
      using Sum = decltype(sum);
      constexpr size_t kRows = RowsAtOnce<Sum>();
      const size_t task_rows =
          hwy::RoundUpTo(hwy::DivCeil(kTaskValues, args.x.cols), kRows);
      parallel.For(hwy::DivCeil(rows, task_rows), [&](size_t task) HWY_ATTR {
        const size_t r = task * task_rows;
        const size_t end = std::min(rows, r + task_rows);
        const size_t whole = end - (end - r) % kRows;
        NormalizeRows<S, Sum, kRows>(args, r, whole);
        NormalizeRows<S, Sum, 1>(args, whole, end);
      });
    });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
