#ifndef KERNELS_BASE_MATRIX_H_
#define KERNELS_BASE_MATRIX_H_

#include <cstddef>

namespace ulpscope {

// A view of `rows` x `cols` elements, row-major, `stride` elements from row to
// row.
template <typename T>
struct Matrix {
  T* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  size_t stride = 0;

  Matrix() = default;
  Matrix(T* data_in, size_t rows_in, size_t cols_in, size_t stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(stride_in) {}
  Matrix(T* data_in, size_t rows_in, size_t cols_in)
      : Matrix(data_in, rows_in, cols_in, cols_in) {}
  // From a view of mutable elements to one of const elements.
  template <typename U>
  Matrix(const Matrix<U>& other)  // NOLINT(google-explicit-constructor)
      : Matrix(other.data, other.rows, other.cols, other.stride) {}

  T* Row(size_t r) const { return data + r * stride; }
};

}  // namespace ulpscope

#endif  // KERNELS_BASE_MATRIX_H_
