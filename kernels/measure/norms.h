#ifndef KERNELS_MEASURE_NORMS_H_
#define KERNELS_MEASURE_NORMS_H_

#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/base/matrix.h"

namespace ulpscope {

// Norms of errors in f64. Every sum is one running sum over the elements, row
// by row: the same values give the same bits wherever they are measured. What
// is not finite makes the sum so. Two arguments have the same shape.

// sum a[i] b[i].
inline double Dot(Matrix<const double> a, Matrix<const double> b) {
  double sum = 0;
  for (size_t r = 0; r < a.rows; ++r) {
    const double *const x = a.Row(r), *const y = b.Row(r);
    for (size_t c = 0; c < a.cols; ++c) sum += x[c] * y[c];
  }
  return sum;
}

// sum (a[i] - b[i])^2.
inline double SquaredDistance(Matrix<const double> a, Matrix<const double> b) {
  double sum = 0;
  for (size_t r = 0; r < a.rows; ++r) {
    const double *const x = a.Row(r), *const y = b.Row(r);
    for (size_t c = 0; c < a.cols; ++c) sum += (x[c] - y[c]) * (x[c] - y[c]);
  }
  return sum;
}

inline Matrix<const double> AsRow(const std::vector<double>& v) {
  return {v.data(), 1, v.size()};
}

inline double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  return Dot(AsRow(a), AsRow(b));
}

inline double SquaredDistance(const std::vector<double>& a,
                              const std::vector<double>& b) {
  return SquaredDistance(AsRow(a), AsRow(b));
}

template <typename V>  // a vector or a matrix
double Norm2(const V& v) {
  return std::sqrt(Dot(v, v));
}

// a - b, element by element.
inline std::vector<double> Difference(Matrix<const double> a,
                                      Matrix<const double> b) {
  std::vector<double> difference;
  difference.reserve(a.rows * a.cols);
  for (size_t r = 0; r < a.rows; ++r) {
    for (size_t c = 0; c < a.cols; ++c) {
      difference.push_back(a.Row(r)[c] - b.Row(r)[c]);
    }
  }
  return difference;
}

inline std::vector<double> Difference(const std::vector<double>& a,
                                      const std::vector<double>& b) {
  return Difference(AsRow(a), AsRow(b));
}

// 0 / 0 is 0: no error, relative to nothing.
inline double RatioOrZero(double error, double size) {
  return error == 0 ? 0 : error / size;
}

}  // namespace ulpscope

#endif  // KERNELS_MEASURE_NORMS_H_
