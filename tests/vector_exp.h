#ifndef TESTS_VECTOR_EXP_H_
#define TESTS_VECTOR_EXP_H_

#include "absl/types/span.h"

namespace ulpscope {

// x[i] = e^x[i] as the kernels compute it (kernels/exp-inl.h), on the target
// that ScopedTarget set.
void VectorExp(absl::Span<float> x);
void VectorExp(absl::Span<double> x);

}  // namespace ulpscope

#endif  // TESTS_VECTOR_EXP_H_
