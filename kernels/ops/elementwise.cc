#include "kernels/ops/elementwise.h"

#include <cstddef>
#include <type_traits>

#include "hwy/base.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"

#ifndef KERNELS_ELEMENTWISE_CC_ONCE_
#define KERNELS_ELEMENTWISE_CC_ONCE_
namespace ulpscope {

// One type for all targets: the tables that a target exports, by strategy.
template <typename T>
struct ElementwiseFns {
  void (*const* rope)(const double*, const double*, Matrix<T>);
  void (*const* swiglu)(Matrix<const T>, Matrix<const T>, Matrix<T>, Parallel&);
  void (*const* round_row)(const double*, size_t, T*);
};

}  // namespace ulpscope
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/elementwise.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/ops/exp-inl.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class S, typename T>
struct RopeImpl {
  static void Run(const double* HWY_RESTRICT cos,
                  const double* HWY_RESTRICT sin, Matrix<T> x) {
    using Lane = typename S::Sum::Lane;
    constexpr Format kOperand = S::kInfo.operand;
    constexpr Format kResult = S::kInfo.result;
    const size_t half = x.cols / 2;
    // Cosines and sines are read and rounded once for all rows.
    ForEachVector<Lane>(half, [&](auto d, size_t i, auto... left) HWY_ATTR {
      const auto c = LoadOperand<kOperand>(d, cos + i, left...);
      const auto s = LoadOperand<kOperand>(d, sin + i, left...);
      for (size_t r = 0; r < x.rows; ++r) {
        T* const lo = x.Row(r) + i;
        T* const hi = lo + half;
        const auto x1 = LoadOperand<kOperand>(d, lo, left...);
        const auto x2 = LoadOperand<kOperand>(d, hi, left...);
        const auto y1 = hn::Sub(RoundBetweenOps<kResult>(d, hn::Mul(x1, c)),
                                RoundBetweenOps<kResult>(d, hn::Mul(x2, s)));
        const auto y2 = hn::Add(RoundBetweenOps<kResult>(d, hn::Mul(x2, c)),
                                RoundBetweenOps<kResult>(d, hn::Mul(x1, s)));
        StoreResult(d, RoundTo<kResult>(d, y1), lo, left...);
        StoreResult(d, RoundTo<kResult>(d, y2), hi, left...);
      }
    });
  }
};

template <class S, typename T>
struct SwiGluImpl {
  static void Run(Matrix<const T> gate, Matrix<const T> up, Matrix<T> y,
                  Parallel& parallel) {
    using Lane = typename S::Sum::Lane;
    constexpr Format kOperand = S::kInfo.operand;
    constexpr Format kResult = S::kInfo.result;
    parallel.For(gate.rows, [&](size_t r) HWY_ATTR {
      const T* g_row = gate.Row(r);
      const T* u_row = up.Row(r);
      T* y_row = y.Row(r);
      ForEachVector<Lane>(
          gate.cols, [&](auto d, size_t i, auto... left) HWY_ATTR {
            const auto g = LoadOperand<kOperand>(d, g_row + i, left...);
            const auto u = LoadOperand<kOperand>(d, u_row + i, left...);
            const auto silu = RoundBetweenOps<kResult>(
                d, hn::Div(g, OnePlusExp(d, hn::Neg(g))));
            StoreResult(d, RoundTo<kResult>(d, hn::Mul(silu, u)), y_row + i,
                        left...);
          });
    });
  }
};

template <class S, typename T>
struct RoundRowImpl {
  static void Run(const double* HWY_RESTRICT x, size_t n, T* HWY_RESTRICT y) {
    using Lane = typename S::Sum::Lane;
    ForEachVector<Lane>(n, [&](auto d, size_t i, auto... left) HWY_ATTR {
      const auto v = LoadOperand<S::kInfo.operand>(d, x + i, left...);
      StoreResult(d, RoundTo<S::kInfo.result>(d, v), y + i, left...);
    });
  }
};

template <typename T>
ElementwiseFns<T> ElementwiseTables() {
  constexpr Kernel kKernel = Kernel::kElementwise;
  const AllStrategies all;
  return {
      TableOf<RopeImpl, T, kKernel,
              void (*)(const double*, const double*, Matrix<T>)>(all),
      TableOf<SwiGluImpl, T, kKernel,
              void (*)(Matrix<const T>, Matrix<const T>, Matrix<T>, Parallel&)>(
          all),
      TableOf<RoundRowImpl, T, kKernel, void (*)(const double*, size_t, T*)>(
          all)};
}

ElementwiseFns<float> ElementwiseTablesF32() {
  return ElementwiseTables<float>();
}
ElementwiseFns<double> ElementwiseTablesF64() {
  return ElementwiseTables<double>();
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(ElementwiseTablesF32);
HWY_EXPORT(ElementwiseTablesF64);

namespace {

template <typename T>
ElementwiseFns<T> Fns() {
  if constexpr (std::is_same_v<T, float>) {
    return HWY_DYNAMIC_DISPATCH(ElementwiseTablesF32)();
  } else {
    return HWY_DYNAMIC_DISPATCH(ElementwiseTablesF64)();
  }
}

}  // namespace

template <typename T>
void Rope(Strategy strategy, const double* cos, const double* sin,
          Matrix<T> x) {
  Fns<T>().rope[strategy.index()](cos, sin, x);
}

template <typename T>
void SwiGlu(Strategy strategy, Matrix<const T> gate, Matrix<const T> up,
            Matrix<T> y, Parallel& parallel) {
  Fns<T>().swiglu[strategy.index()](gate, up, y, parallel);
}

template <typename T>
void RoundRow(Strategy strategy, const double* x, size_t n, T* y) {
  Fns<T>().round_row[strategy.index()](x, n, y);
}

template void Rope<float>(Strategy, const double*, const double*,
                          Matrix<float>);
template void Rope<double>(Strategy, const double*, const double*,
                           Matrix<double>);
template void SwiGlu<float>(Strategy, Matrix<const float>, Matrix<const float>,
                            Matrix<float>, Parallel&);
template void SwiGlu<double>(Strategy, Matrix<const double>,
                             Matrix<const double>, Matrix<double>, Parallel&);
template void RoundRow<float>(Strategy, const double*, size_t, float*);
template void RoundRow<double>(Strategy, const double*, size_t, double*);

}  // namespace ulpscope
#endif  // HWY_ONCE
