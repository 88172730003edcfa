// RMSNorm under a strategy.
#if defined(KERNELS_OPS_RMSNORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_RMSNORM_INL_H_
#undef KERNELS_OPS_RMSNORM_INL_H_
#else
#define KERNELS_OPS_RMSNORM_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <type_traits>

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

// x of rows from `row` on.
template <class S>
class NormOperand {
 public:
  NormOperand(const RmsNormArgs& args, size_t row)
      : x_(args.x.Row(row)), stride_(args.x.stride) {
    if constexpr (S::kInfo.reads_carry) {
      carry_ = args.carry.data != nullptr ? args.carry.Row(row) : nullptr;
      carry_stride_ = args.carry.stride;
    }
  }

  template <class D, class... Left>
  HWY_INLINE hn::Vec<D> Load(D d, size_t r, size_t i, Left... left) const {
    if constexpr (S::kInfo.reads_carry) {
      const auto x = LoadWidened(d, x_ + r * stride_ + i, left...);
      if (carry_ == nullptr) return x;
      return hn::Add(x,
                     LoadWidened(d, carry_ + r * carry_stride_ + i, left...));
    } else {
      return LoadOperand<S::kInfo.operand>(d, x_ + r * stride_ + i, left...);
    }
  }

 private:
  const double* x_;
  size_t stride_;
  const double* carry_ = nullptr;
  size_t carry_stride_ = 0;
};

// Whether squares are summed as by a block of threads, and how many.
template <class S, class = void>
inline constexpr size_t kPartialSumsOf = 0;
template <class S>
inline constexpr size_t
    kPartialSumsOf<S, std::void_t<decltype(S::kPartialSums)>> = S::kPartialSums;

// The sum of a row's squares: partial sum l of l, l + kPartials, ..., and then
// l and l + kPartials / 2 are added, l and l + kPartials / 4, ...
template <size_t kPartials, class S>
HWY_INLINE float SumSquaresOfThreads(const NormOperand<S>& x, size_t n) {
  HWY_ALIGN float partial[kPartials] = {};
  for (size_t first = 0; first < n; first += kPartials) {
    ForEachVector<float>(std::min(kPartials, n - first),
                         [&](auto d, size_t i, auto... left) HWY_ATTR {
                           const auto v = x.Load(d, 0, first + i, left...);
                           const auto sum = LoadSome(d, partial + i, left...);
                           StoreSome(d, hn::MulAdd(v, v, sum), partial + i,
                                     left...);
                         });
  }
  for (size_t width = kPartials / 2; width > 0; width /= 2) {
    ForEachVector<float>(width, [&](auto d, size_t i, auto... left) HWY_ATTR {
      const auto sum = hn::Add(LoadSome(d, partial + i, left...),
                               LoadSome(d, partial + width + i, left...));
      StoreSome(d, sum, partial + i, left...);
    });
  }
  return partial[0];
}

// inverse[r] = 1 / sqrt(mean of squares + eps) of rows [row, row + kRows).
template <class S, class Sum, size_t kRows>
HWY_INLINE void InverseRms(const RmsNormArgs& args, size_t row,
                           typename Sum::Lane* inverse) {
  using Lane = typename Sum::Lane;
  const size_t n = args.x.cols;
  Lane sums[kRows];
  if constexpr (kPartialSumsOf<S> != 0) {
    for (size_t r = 0; r < kRows; ++r) {
      sums[r] = SumSquaresOfThreads<kPartialSumsOf<S>>(
          NormOperand<S>(args, row + r), n);
    }
  } else {
    const NormOperand<S> x(args, row);
    RowSums<Sum>(
        n,
        [&](auto d, size_t r, size_t i, auto& s, auto& c, auto... left)
            HWY_ATTR { Sum::AddSquare(d, x.Load(d, r, i, left...), s, c); },
        sums);
  }
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
  const NormOperand<S> x(args, row);
  double* const y = args.y.Row(row);
  const size_t y_stride = args.y.stride;
  const double* HWY_RESTRICT weight = args.weight;
  ForEachVector<Lane>(
      args.x.cols, [&](auto d, size_t i, auto... left) HWY_ATTR {
        const auto w = LoadOperand<kOperand>(d, weight + i, left...);
        HWY_UNROLL(4)
        for (size_t r = 0; r < kRows; ++r) {
          auto v = hn::Mul(x.Load(d, r, i, left...), hn::Set(d, inverse[r]));
          v = RoundBetweenOps<S>(d, v);
          StoreResult(d, RoundTo<kResult>(d, hn::Mul(w, v)),
                      y + r * y_stride + i, left...);
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
