#include "kernels/ops/softmax.h"

#include <cstddef>
#include <limits>
#include <type_traits>

#include "hwy/aligned_allocator.h"
#include "hwy/base.h"
#include "kernels/base/matrix.h"
#include "kernels/strategy/strategy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/softmax.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/ops/exp-inl.h"
#include "kernels/ops/quotient-inl.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/sum_driver-inl.h"
#include "kernels/strategy/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The largest of x, anything if one is NaN: of several maxima, so that they do
// not wait for each other.
template <typename T>
HWY_INLINE T RowMax(const T* x, size_t n) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  const auto lowest = hn::Set(d, -std::numeric_limits<T>::infinity());
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

template <class S, class Sum, typename T>
void SoftmaxRow(const T* x, size_t n, T* y) {
  using Lane = typename Sum::Lane;
  constexpr Format kOperand = S::kInfo.operand;
  constexpr Format kResult = S::kInfo.result;

  // Rounding keeps the order: the largest operand is the largest x, rounded.
  const T max_x = RowMax(x, n);
  const Lane max =
      hn::GetLane(LoadOperand<kOperand>(hn::CappedTag<Lane, 1>(), &max_x));

  // The terms, which are not rounded to an operand.
  Lane* e;
  if constexpr (std::is_same_v<T, Lane>) {
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

template <class S, typename T>
struct SoftmaxImpl {
  static void Run(Matrix<const T> x, Matrix<T> y) {
    ChooseSum<S>(x.cols, [&](auto sum) HWY_ATTR {
      for (size_t r = 0; r < x.rows; ++r) {
        SoftmaxRow<S, decltype(sum)>(x.Row(r), x.cols, y.Row(r));
      }
    });
  }
};

template <typename T>
using SoftmaxFn = void (*)(Matrix<const T>, Matrix<T>);

const SoftmaxFn<float>* SoftmaxTableF32() {
  return TableOf<SoftmaxImpl, float, Kernel::kSoftmax, SoftmaxFn<float>>(
      AllStrategies());
}
const SoftmaxFn<double>* SoftmaxTableF64() {
  return TableOf<SoftmaxImpl, double, Kernel::kSoftmax, SoftmaxFn<double>>(
      AllStrategies());
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(SoftmaxTableF32);
HWY_EXPORT(SoftmaxTableF64);

template <typename T>
void Softmax(Strategy strategy, Matrix<const T> x, Matrix<T> y) {
  HWY_ASSERT(x.rows > 0 && x.cols > 0);
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(SoftmaxTableF32)()[strategy.index()](x, y);
  } else {
    HWY_DYNAMIC_DISPATCH(SoftmaxTableF64)()[strategy.index()](x, y);
  }
}

template void Softmax<float>(Strategy, Matrix<const float>, Matrix<float>);
template void Softmax<double>(Strategy, Matrix<const double>, Matrix<double>);

}  // namespace ulpscope
#endif  // HWY_ONCE
