// The ops without a sum under a strategy.
#if defined(KERNELS_OPS_ELEMENTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_OPS_ELEMENTWISE_INL_H_
#undef KERNELS_OPS_ELEMENTWISE_INL_H_
#else
#define KERNELS_OPS_ELEMENTWISE_INL_H_
#endif

#include <cstddef>

#include "hwy/base.h"
#include "hwy/highway.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/exp-inl.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/strategy.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class S>
struct RopeImpl {
  static void Run(const double* HWY_RESTRICT cos,
                  const double* HWY_RESTRICT sin, Matrix<double> x) {
    using Lane = typename S::Sum::Lane;
    constexpr Format kOperand = S::kInfo.operand;
    constexpr Format kResult = S::kInfo.result;
    const size_t half = x.cols / 2;
    // Cosines and sines are read and rounded once for all rows.
    ForEachVector<Lane>(half, [&](auto d, size_t i, auto... left) HWY_ATTR {
      const auto c = LoadOperand<kOperand>(d, cos + i, left...);
      const auto s = LoadOperand<kOperand>(d, sin + i, left...);
      for (size_t r = 0; r < x.rows; ++r) {
        double* const lo = x.Row(r) + i;
        double* const hi = lo + half;
        const auto x1 = LoadOperand<kOperand>(d, lo, left...);
        const auto x2 = LoadOperand<kOperand>(d, hi, left...);
        const auto y1 = hn::Sub(RoundBetweenOps<S>(d, hn::Mul(x1, c)),
                                RoundBetweenOps<S>(d, hn::Mul(x2, s)));
        const auto y2 = hn::Add(RoundBetweenOps<S>(d, hn::Mul(x2, c)),
                                RoundBetweenOps<S>(d, hn::Mul(x1, s)));
        StoreResult(d, RoundTo<kResult>(d, y1), lo, left...);
        StoreResult(d, RoundTo<kResult>(d, y2), hi, left...);
      }
    });
  }
};

template <class S>
struct SwiGluImpl {
  static void Run(Matrix<const double> gate, Matrix<const double> up,
                  Matrix<double> y, Parallel& parallel) {
    using Lane = typename S::Sum::Lane;
    constexpr Format kOperand = S::kInfo.operand;
    constexpr Format kResult = S::kInfo.result;
    parallel.For(gate.rows, [&](size_t r) HWY_ATTR {
      const double* g_row = gate.Row(r);
      const double* u_row = up.Row(r);
      double* y_row = y.Row(r);
      ForEachVector<Lane>(
          gate.cols, [&](auto d, size_t i, auto... left) HWY_ATTR {
            const auto g = LoadOperand<kOperand>(d, g_row + i, left...);
            const auto u = LoadOperand<kOperand>(d, u_row + i, left...);
            const auto silu =
                RoundBetweenOps<S>(d, hn::Div(g, OnePlusExp(d, hn::Neg(g))));
            StoreResult(d, RoundTo<kResult>(d, hn::Mul(silu, u)), y_row + i,
                        left...);
          });
    });
  }
};

template <class S>
struct RoundRowImpl {
  static void Run(const double* HWY_RESTRICT x, size_t n,
                  double* HWY_RESTRICT y) {
    using Lane = typename S::Sum::Lane;
    ForEachVector<Lane>(n, [&](auto d, size_t i, auto... left) HWY_ATTR {
      const auto v = LoadOperand<S::kInfo.operand>(d, x + i, left...);
      StoreResult(d, RoundTo<S::kInfo.result>(d, v), y + i, left...);
    });
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
