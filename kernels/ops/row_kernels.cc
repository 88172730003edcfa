// The kernels of rows and elements for all targets. They are one unit because
// Highway's headers, which every target reads anew, take the compiler longer
// than the kernels do.
#include <cstddef>

#include "hwy/base.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/online_softmax.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/residual.h"
#include "kernels/ops/rmsnorm.h"
#include "kernels/ops/softmax.h"
#include "kernels/ops/store_heads.h"
#include "kernels/strategy/strategy.h"

#ifndef KERNELS_OPS_ROW_KERNELS_CC_ONCE_
#define KERNELS_OPS_ROW_KERNELS_CC_ONCE_
namespace ulpscope {

using RmsNormFn = void (*)(const RmsNormArgs&, Parallel&);
using SoftmaxFn = void (*)(Matrix<const double>, Matrix<double>);
using AddResidualFn = void (*)(const double*, size_t, double*, double*);
using RopeFn = void (*)(const double*, const double*, Matrix<double>);
using SwiGluFn = void (*)(Matrix<const double>, Matrix<const double>,
                          Matrix<double>, Parallel&);
using RoundRowFn = void (*)(const double*, size_t, double*);
using OnlineSoftmaxFn = void (*)(const OnlineSoftmaxArgs&);
using FinalWeightsFn = void (*)(const OnlineSoftmaxArgs&, const double*);
using PartSharesFn = void (*)(double, Matrix<const double>,
                              Matrix<const double>, Matrix<double>);
using WeighKeyByKeyFn = void (*)(const OnlineSoftmaxArgs&, Matrix<double>);
using AddKeyByKeyFn = void (*)(Matrix<const double>, Matrix<const double>,
                               const PanelsView&, Matrix<double>);
using ScaleAndAddFn = void (*)(Matrix<const double>, const double*, bool,
                               Matrix<const double>, Matrix<double>);
using DivideBySumsFn = void (*)(Matrix<const double>, const double*, bool,
                                Matrix<double>);
using StoreHeadsFn = void (*)(Matrix<const double>, Matrix<double>);

// What a target exports: the tables, by strategy.
struct RowKernels {
  const RmsNormFn* rms_norm;
  const SoftmaxFn* softmax;
  const AddResidualFn* add_residual;
  const RopeFn* rope;
  const SwiGluFn* swiglu;
  const RoundRowFn* round_row;
  const OnlineSoftmaxFn* online_softmax;
  const FinalWeightsFn* final_weights;
  const PartSharesFn* part_shares;
  const WeighKeyByKeyFn* weigh_key_by_key;
  const AddKeyByKeyFn* add_key_by_key;
  const ScaleAndAddFn* scale_and_add;
  const DivideBySumsFn* divide_by_sums;
  const StoreHeadsFn* store_heads;
};

}  // namespace ulpscope
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ops/row_kernels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/ops/elementwise-inl.h"
#include "kernels/ops/online_softmax-inl.h"
#include "kernels/ops/residual-inl.h"
#include "kernels/ops/rmsnorm-inl.h"
#include "kernels/ops/softmax-inl.h"
#include "kernels/ops/store_heads-inl.h"
#include "kernels/strategy/accumulation-inl.h"
#include "kernels/strategy/table-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {

RowKernels AllRowKernels() {
#if ULPSCOPE_HAS_AVX3_TABLES
  return N_AVX3::AllRowKernels();
#else
  const AllStrategies all;
  return {TableOf<RmsNormImpl, Kernel::kRmsNorm, RmsNormFn>(all),
          TableOf<SoftmaxImpl, Kernel::kSoftmax, SoftmaxFn>(all),
          TableOf<AddResidualImpl, Kernel::kResidual, AddResidualFn>(all),
          TableOf<RopeImpl, Kernel::kElementwise, RopeFn>(all),
          TableOf<SwiGluImpl, Kernel::kElementwise, SwiGluFn>(all),
          TableOf<RoundRowImpl, Kernel::kElementwise, RoundRowFn>(all),
          TableOf<OnlineSoftmaxImpl, Kernel::kSoftmax, OnlineSoftmaxFn>(all),
          TableOf<FinalWeightsImpl, Kernel::kSoftmax, FinalWeightsFn>(all),
          TableOf<PartSharesImpl, Kernel::kSoftmax, PartSharesFn>(all),
          TableOf<WeighKeyByKeyImpl, Kernel::kSoftmax, WeighKeyByKeyFn>(all),
          TableOfEvery<AddKeyByKeyImpl, AddKeyByKeyFn>(all),
          TableOfEvery<ScaleAndAddImpl, ScaleAndAddFn>(all),
          TableOfEvery<DivideBySumsImpl, DivideBySumsFn>(all),
          TableOf<StoreHeadsImpl, Kernel::kKvCache, StoreHeadsFn>(all)};
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(AllRowKernels);

namespace {

RowKernels Kernels() { return HWY_DYNAMIC_DISPATCH(AllRowKernels)(); }

}  // namespace

void RmsNorm(Strategy strategy, const RmsNormArgs& args, Parallel& parallel) {
  HWY_ASSERT(args.x.rows > 0 && args.x.cols > 0);
  Kernels().rms_norm[strategy.index()](args, parallel);
}

void Softmax(Strategy strategy, Matrix<const double> x, Matrix<double> y) {
  HWY_ASSERT(x.rows > 0 && x.cols > 0);
  Kernels().softmax[strategy.index()](x, y);
}

void AddResidual(Strategy strategy, const double* update, size_t n,
                 double* stream, double* carry) {
  Kernels().add_residual[strategy.index()](update, n, stream, carry);
}

void Rope(Strategy strategy, const double* cos, const double* sin,
          Matrix<double> x) {
  Kernels().rope[strategy.index()](cos, sin, x);
}

void SwiGlu(Strategy strategy, Matrix<const double> gate,
            Matrix<const double> up, Matrix<double> y, Parallel& parallel) {
  Kernels().swiglu[strategy.index()](gate, up, y, parallel);
}

void RoundRow(Strategy strategy, const double* x, size_t n, double* y) {
  Kernels().round_row[strategy.index()](x, n, y);
}

void OnlineSoftmax(Strategy softmax, const OnlineSoftmaxArgs& args) {
  HWY_ASSERT(args.scores.rows > 0 && args.scores.cols > 0);
  Kernels().online_softmax[softmax.index()](args);
}

void FinalWeights(Strategy softmax, const OnlineSoftmaxArgs& args,
                  const double* share) {
  Kernels().final_weights[softmax.index()](args, share);
}

void PartShares(Strategy softmax, double scale, Matrix<const double> maxima,
                Matrix<const double> sums, Matrix<double> shares) {
  Kernels().part_shares[softmax.index()](scale, maxima, sums, shares);
}

void WeighKeyByKey(Strategy softmax, const OnlineSoftmaxArgs& args,
                   Matrix<double> factors) {
  Kernels().weigh_key_by_key[softmax.index()](args, factors);
}

void AddKeyByKey(Strategy av, Matrix<const double> weights,
                 Matrix<const double> factors, const PanelsView& values,
                 Matrix<double> y) {
  HWY_ASSERT(values.blocks == nullptr);
  Kernels().add_key_by_key[av.index()](weights, factors, values, y);
}

void ScaleAndAdd(Strategy av, Matrix<const double> x, const double* factors,
                 bool fused, Matrix<const double> z, Matrix<double> y) {
  Kernels().scale_and_add[av.index()](x, factors, fused, z, y);
}

void DivideBySums(Strategy av, Matrix<const double> x, const double* sums,
                  bool unrounded, Matrix<double> y) {
  Kernels().divide_by_sums[av.index()](x, sums, unrounded, y);
}

void StoreHeads(Strategy strategy, Matrix<const double> x, Matrix<double> y) {
  Kernels().store_heads[strategy.index()](x, y);
}

}  // namespace ulpscope
#endif  // HWY_ONCE
