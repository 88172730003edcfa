// Softmax under a strategy.
#if defined(KERNELS_OPS_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_SOFTMAX_INL_H_
#undef KERNELS_OPS_SOFTMAX_INL_H_
#else
#define KERNELS_OPS_SOFTMAX_INL_H_
#endif

#include <cstddef>
#include <limits>
#include <type_traits>

#include "hwy/aligned_allocator.h"
#include "hwy/base.h"
#include "hwy/highway.h"
#include "kernels/base/matrix.h"
#include "kernels/ops/exp-inl.h"
#include "kernels/ops/quotient-inl.h"
#include "kernels/ops/softmax.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/strategy.h"
#include "kernels/strategy/sum_driver-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The largest of x, anything if one is NaN: of several maxima, so that they do
// not wait for each other.
HWY_INLINE double RowMax(const double* x, size_t n) {
  const hn::ScalableTag<double> d;
  const size_t lanes = hn::Lanes(d);
  const auto lowest = hn::Set(d, -std::numeric_limits<double>::infinity());
  auto m0 = lowest, m1 = lowest, m2 = lowest, m3 = lowest;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    m0 = hn::Max(m0, hn::LoadU(d, x + i));
    m1 = hn::Max(m1, hn::LoadU(d, x + i + lanes));
    m2 = hn::Max(m2, hn::LoadU(d, x + i + 2 * lanes));
    m3 = hn::Max(m3, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) m0 = hn::Max(m0, hn::LoadU(d, x + i));
  if (i < n) m1 = hn::Max(m1, hn::LoadNOr(lowest, d, x + i, n - i));
  return hn::ReduceMax(d, hn::Max(hn::Max(m0, m1), hn::Max(m2, m3)));
}

template <class S, class Sum>
void SoftmaxRow(const double* x, size_t n, double* y) {
  using Lane = typename Sum::Lane;
  constexpr Format kOperand = S::kInfo.operand;
  constexpr Format kResult = S::kInfo.result;

  // Rounding keeps the order: the largest operand is the largest x, rounded.
  const double max_x = RowMax(x, n);
  const Lane max =
      hn::GetLane(LoadOperand<kOperand>(hn::CappedTag<Lane, 1>(), &max_x));

  // The terms, which are not rounded to an operand.
  Lane* e;
  if constexpr (std::is_same_v<double, Lane>) {
    e = y;
  } else {
    thread_local hwy::AlignedVector<Lane> exps;
    if (exps.size() < n) exps.resize(n);
    e = exps.data();
  }
  Lane sum[1];
  RowSums<Sum>(
      n,
      [&](auto d, size_t /*row*/, size_t i, auto& s, auto& c, auto... left)
          HWY_ATTR {
            const auto v = LoadOperand<kOperand>(d, x + i, left...);
            auto exp = ExpOfNonPositive(d, hn::Sub(v, hn::Set(d, max)));
            if constexpr (sizeof...(left) > 0) {
              exp = hn::IfThenElseZero(hn::FirstN(d, left...), exp);
            }
            StoreSome(d, exp, e + i, left...);
            Sum::Add(d, exp, s, c);
          },
      sum);

  // The largest term is 1: the sum is from 1 to about n, or NaN.
  const Divisor<Lane> divisor(sum[0]);
  ForEachVector<Lane>(n, [&](auto d, size_t i, auto... left) HWY_ATTR {
    const auto v = Quotient(d, LoadSome(d, e + i, left...), divisor);
    StoreResult(d, RoundTo<kResult>(d, v), y + i, left...);
  });
}

template <class S>
struct SoftmaxImpl {
  static void Run(Matrix<const double> x, Matrix<double> y) {
    ChooseSum<S>(x.cols, [&](auto sum) HWY_ATTR {
      for (size_t r = 0; r < x.rows; ++r) {
        SoftmaxRow<S, decltype(sum)>(x.Row(r), x.cols, y.Row(r));
      }
    });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
