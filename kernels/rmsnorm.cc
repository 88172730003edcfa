#include "kernels/rmsnorm.h"

#include <cmath>
#include <cstddef>
#include <type_traits>

#include "hwy/base.h"
#include "kernels/matrix.h"
#include "kernels/parallel.h"
#include "kernels/strategy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rmsnorm.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/accumulation-inl.h"
#include "kernels/rounding-inl.h"
#include "kernels/sum_driver-inl.h"
#include "kernels/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class S, class Sum, typename T>
void NormalizeRow(const T* x, size_t n, const double* HWY_RESTRICT weight,
                  double eps, T* y) {
  using Lane = typename Sum::Lane;
  constexpr Format kOperand = S::kInfo.operand;
  constexpr Format kResult = S::kInfo.result;
  const Lane sum = RowSum<Sum, kOperand>(
      x, n, [](auto d, auto v, auto& s, auto& c) HWY_ATTR {
        Sum::MulAdd(d, v, v, s, c);
      });
  const Lane mean = sum / static_cast<Lane>(n);
  const Lane inverse = Lane{1} / std::sqrt(mean + static_cast<Lane>(eps));
  ForEachVector<Lane>(n, [&](auto d, size_t i) HWY_ATTR {
    auto v = hn::Mul(LoadOperand<kOperand>(d, x + i), hn::Set(d, inverse));
    if constexpr (kResult == Format::kBF16) v = RoundToBF16(d, v);
    v = hn::Mul(LoadOperand<kOperand>(d, weight + i), v);
    StoreResult(d, RoundTo<kResult>(d, v), y + i);
  });
}

template <class S, typename T>
struct RmsNormImpl {
  static void Run(const RmsNormArgs<T>& args, Parallel& parallel) {
    const size_t n = args.x.cols;
    ChooseSum<S>(n, [&](auto sum) HWY_ATTR {
      parallel.For(args.x.rows, [&](size_t r) HWY_ATTR {
        NormalizeRow<S, decltype(sum)>(args.x.Row(r), n, args.weight, args.eps,
                                       args.y.Row(r));
      });
    });
  }
};

template <typename T>
using RmsNormFn = void (*)(const RmsNormArgs<T>&, Parallel&);

const RmsNormFn<float>* RmsNormTableF32() {
  return TableOf<RmsNormImpl, float, Kernel::kRmsNorm, RmsNormFn<float>>(
      AllStrategies());
}
const RmsNormFn<double>* RmsNormTableF64() {
  return TableOf<RmsNormImpl, double, Kernel::kRmsNorm, RmsNormFn<double>>(
      AllStrategies());
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(RmsNormTableF32);
HWY_EXPORT(RmsNormTableF64);

template <typename T>
void RmsNorm(Strategy strategy, const RmsNormArgs<T>& args,
             Parallel& parallel) {
  HWY_ASSERT(args.x.rows > 0 && args.x.cols > 0);
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(RmsNormTableF32)()[strategy.index()](args, parallel);
  } else {
    HWY_DYNAMIC_DISPATCH(RmsNormTableF64)()[strategy.index()](args, parallel);
  }
}

template void RmsNorm<float>(Strategy, const RmsNormArgs<float>&, Parallel&);
template void RmsNorm<double>(Strategy, const RmsNormArgs<double>&, Parallel&);

}  // namespace ulpscope
#endif  // HWY_ONCE
