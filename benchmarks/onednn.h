#ifndef BENCHMARKS_ONEDNN_H_
#define BENCHMARKS_ONEDNN_H_

#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "hwy/base.h"
#include "kernels/base/matrix.h"

namespace ulpscope {

// oneDNN's primitives, ready to be called. An error says what this version or
// this CPU does not have. Operands must outlive the calls, and are read and
// written by them; the number of threads is that of SetOneDnnThreads at the
// time of making and calling.

// "oneDNN 2.6.3, AVX512_CORE_AMX".
std::string OneDnnVersion();

void SetOneDnnThreads(size_t threads);

struct OneDnnCall {
  std::function<void()> call;
  std::string implementation;  // oneDNN's name for the kernel it chose
};

// C = A B^T in f32. B [n][k] is reordered here, `copies` times, into the layout
// that oneDNN likes best, and the calls take the copies in turn.
absl::StatusOr<OneDnnCall> OneDnnMatMul(Matrix<const float> a,
                                        Matrix<const float> b, Matrix<float> c,
                                        size_t copies);

// With bf16 operands, and f32 sums and results.
absl::StatusOr<OneDnnCall> OneDnnMatMul(Matrix<const hwy::bfloat16_t> a,
                                        Matrix<const hwy::bfloat16_t> b,
                                        Matrix<float> c, size_t copies);

// Row by row.
absl::StatusOr<OneDnnCall> OneDnnSoftmax(Matrix<const float> x,
                                         Matrix<float> y);

// Layer normalization: version 2.6 has no RMSNorm. `scale` has x.cols values.
absl::StatusOr<OneDnnCall> OneDnnLayerNorm(Matrix<const float> x,
                                           const float* scale, float eps,
                                           Matrix<float> y);

}  // namespace ulpscope

#endif  // BENCHMARKS_ONEDNN_H_
