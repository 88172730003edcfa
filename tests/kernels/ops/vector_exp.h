#ifndef TESTS_KERNELS_OPS_VECTOR_EXP_H_
#define TESTS_KERNELS_OPS_VECTOR_EXP_H_

#include "absl/types/span.h"

namespace ulpscope {

// Of kernels/ops/exp-inl.h, on the target that ScopedTarget set: x[i] = e^x[i].
void VectorExp(absl::Span<float> x);
void VectorExp(absl::Span<double> x);

// e^x[i] for x[i] <= 0, and 1 + e^x[i], as the kernels compute them.
void VectorExpOfNonPositive(absl::Span<float> x);
void VectorExpOfNonPositive(absl::Span<double> x);
void VectorOnePlusExp(absl::Span<float> x);
void VectorOnePlusExp(absl::Span<double> x);

// 2^x[i] and log(x[i]).
void VectorExp2(absl::Span<float> x);
void VectorExp2(absl::Span<double> x);
void VectorLog(absl::Span<float> x);
void VectorLog(absl::Span<double> x);

// Of kernels/ops/torch_exp-inl.h.
void VectorTorchExpU20(absl::Span<float> x);
void VectorTorchFastExp(absl::Span<float> x);

}  // namespace ulpscope

#endif  // TESTS_KERNELS_OPS_VECTOR_EXP_H_
