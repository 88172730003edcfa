#include "kernels/ops/residual.h"

#include <cstddef>
#include <type_traits>

#include "hwy/base.h"
#include "kernels/strategy/strategy.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/residual.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/error_free-inl.h"
#include "kernels/strategy/rounding-inl.h"
#include "kernels/strategy/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class S, typename T>
struct AddResidualImpl {
  static void Run(const T* HWY_RESTRICT update, size_t n,
                  T* HWY_RESTRICT stream, double* HWY_RESTRICT carry) {
    using Lane = typename S::Sum::Lane;
    constexpr Format kOperand = S::kInfo.operand;
    ForEachVector<Lane>(n, [&](auto d, size_t i, auto... left) HWY_ATTR {
      using V = hn::Vec<decltype(d)>;
      const V x = LoadOperand<kOperand>(d, stream + i, left...);
      const V u = LoadOperand<kOperand>(d, update + i, left...);
      V sum, rest;
      if constexpr (std::is_same_v<typename S::Sum, KahanBabuskaNeumaier>) {
        V err;
        const V rounded = TwoSum(x, u, err);
        sum = FastTwoSum(
            rounded, hn::Add(err, LoadWidened(d, carry + i, left...)), rest);
      } else if constexpr (sizeof(Lane) == 8 &&
                           S::kInfo.result == Format::kF32) {
        const V full =
            hn::Add(hn::Add(x, LoadWidened(d, carry + i, left...)), u);
        sum = RoundTo<Format::kF32>(d, full);
        rest = hn::Sub(full, sum);
      } else if constexpr (S::kInfo.result == Format::kF64) {
        sum = hn::Add(hn::Add(x, LoadWidened(d, carry + i, left...)), u);
        rest = hn::Zero(d);
      } else {
        sum = RoundTo<S::kInfo.result>(d, hn::Add(x, u));
        rest = hn::Zero(d);
      }
      StoreResult(d, sum, stream + i, left...);
      StoreResult(d, rest, carry + i, left...);
    });
  }
};

template <typename T>
using AddResidualFn = void (*)(const T*, size_t, T*, double*);

const AddResidualFn<float>* AddResidualTableF32() {
  return TableOf<AddResidualImpl, float, Kernel::kResidual,
                 AddResidualFn<float>>(AllStrategies());
}
const AddResidualFn<double>* AddResidualTableF64() {
  return TableOf<AddResidualImpl, double, Kernel::kResidual,
                 AddResidualFn<double>>(AllStrategies());
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(AddResidualTableF32);
HWY_EXPORT(AddResidualTableF64);

template <typename T>
void AddResidual(Strategy strategy, const T* update, size_t n, T* stream,
                 double* carry) {
  if constexpr (std::is_same_v<T, float>) {
    HWY_DYNAMIC_DISPATCH(AddResidualTableF32)
    ()[strategy.index()](update, n, stream, carry);
  } else {
    HWY_DYNAMIC_DISPATCH(AddResidualTableF64)
    ()[strategy.index()](update, n, stream, carry);
  }
}

template void AddResidual<float>(Strategy, const float*, size_t, float*,
                                 double*);
template void AddResidual<double>(Strategy, const double*, size_t, double*,
                                  double*);

}  // namespace ulpscope
#endif  // HWY_ONCE
