#include "benchmarks/openblas.h"

#include <cblas-openblas.h>

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/base/matrix.h"

namespace ulpscope {

std::string OpenBlasVersion() {
  return absl::StrCat(openblas_get_config(), ", core ",
                      openblas_get_corename());
}

void SetOpenBlasThreads(size_t threads) {
  openblas_set_num_threads(static_cast<int>(threads));
}

void OpenBlasMatMul(Matrix<const float> a, Matrix<const float> b,
                    Matrix<float> c) {
  const auto m = static_cast<blasint>(a.rows);
  const auto n = static_cast<blasint>(b.rows);
  const auto k = static_cast<blasint>(b.cols);
  const auto lda = static_cast<blasint>(a.stride);
  const auto ldb = static_cast<blasint>(b.stride);
  const auto ldc = static_cast<blasint>(c.stride);
  if (m == 1) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, n, k, 1.0f, b.data, ldb, a.data, 1,
                0.0f, c.data, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0f, a.data,
              lda, b.data, ldb, 0.0f, c.data, ldc);
}

}  // namespace ulpscope
