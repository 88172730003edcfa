#include "kernels/softmax.h"

#include <cstddef>
#include <limits>
#include <type_traits>

#include "hwy/aligned_allocator.h"
#include "hwy/base.h"
#include "kernels/matrix.h"
#include "kernels/strategy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/accumulation-inl.h"
#include "kernels/exp-inl.h"
#include "kernels/rounding-inl.h"
#include "kernels/sum_driver-inl.h"
#include "kernels/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class S, class Sum, typename T>
void SoftmaxRow(const T* x, size_t n, T* y) {
  using Lane = typename Sum::Lane;
  constexpr Format kOperand = S::kInfo.operand;
  constexpr Format kResult = S::kInfo.result;

  const hn::ScalableTag<Lane> dmax;
  const Lane lowest = -std::numeric_limits<Lane>::infinity();
  auto vmax = hn::Set(dmax, lowest);
  Lane max = lowest;
  ForEachVector<Lane>(n, [&](auto d, size_t i) HWY_ATTR {
    const auto v = LoadOperand<kOperand>(d, x + i);
    if constexpr (HWY_MAX_LANES_D(decltype(d)) == 1) {
      const Lane lane = hn::GetLane(v);
      if (lane > max) max = lane;
    } else {
      vmax = hn::Max(vmax, v);
    }
  });
  const Lane vector_max = hn::ReduceMax(dmax, vmax);
  if (vector_max > max) max = vector_max;

  thread_local hwy::AlignedVector<Lane> exps;
  if (exps.size() < n) exps.resize(n);
  Lane* HWY_RESTRICT e = exps.data();
  ForEachVector<Lane>(n, [&](auto d, size_t i) HWY_ATTR {
    const auto v = LoadOperand<kOperand>(d, x + i);
    hn::StoreU(ExpOrNaN(d, hn::Sub(v, hn::Set(d, max))), d, e + i);
  });
  // The terms are not operands: they are not rounded again.
  constexpr Format kLane = sizeof(Lane) == 8 ? Format::kF64 : Format::kF32;
  const Lane sum = RowSum<Sum, kLane>(e, n,
                                      [](auto d, auto v, auto& s, auto& c)
                                          HWY_ATTR { Sum::Add(d, v, s, c); });
  ForEachVector<Lane>(n, [&](auto d, size_t i) HWY_ATTR {
    const auto v = hn::Div(hn::LoadU(d, e + i), hn::Set(d, sum));
    StoreResult(d, RoundTo<kResult>(d, v), y + i);
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
