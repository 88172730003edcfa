#ifndef KERNELS_BASE_PACKED_H_
#define KERNELS_BASE_PACKED_H_

#include <cstddef>
#include <vector>

#include "kernels/base/matrix.h"

namespace ulpscope {

// A copy of the rows, one directly after the other: [rows, cols].
inline std::vector<double> Packed(Matrix<const double> m) {
  std::vector<double> values;
  values.reserve(m.rows * m.cols);
  for (size_t r = 0; r < m.rows; ++r) {
    values.insert(values.end(), m.Row(r), m.Row(r) + m.cols);
  }
  return values;
}

}  // namespace ulpscope

#endif  // KERNELS_BASE_PACKED_H_
