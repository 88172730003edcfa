#ifndef BENCHMARKS_OPENBLAS_H_
#define BENCHMARKS_OPENBLAS_H_

#include <cstddef>
#include <string>

#include "kernels/base/matrix.h"

namespace ulpscope {

// OpenBLAS as a framework calls it, with weights B [n][k] as stored.

// "OpenBLAS 0.3.21 ... SkylakeX".
std::string OpenBlasVersion();

void SetOpenBlasThreads(size_t threads);

// C = A B^T by cblas_sgemm; a single row by cblas_sgemv.
void OpenBlasMatMul(Matrix<const float> a, Matrix<const float> b,
                    Matrix<float> c);

}  // namespace ulpscope

#endif  // BENCHMARKS_OPENBLAS_H_
