#ifndef EXPLORER_PHENOMENA_OUTPUT_RANGE_H_
#define EXPLORER_PHENOMENA_OUTPUT_RANGE_H_

#include <cstddef>
#include <limits>

#include "kernels/base/matrix.h"

namespace ulpscope {

// How values fit a floating-point format.
struct FormatFit {
  // log2(the format's largest finite number / the largest magnitude), bits. At
  // 0 the format is full, below it overflows; infinite if all values are 0.
  double headroom = 0;
  // The share of the values other than 0 that are below the format's smallest
  // normal number: they keep fewer bits than others, or become 0. (The smallest
  // magnitude alone would say little: of a million Gaussians one is about 1e-6,
  // far below f16's 6e-5.)
  double underflow = 0;
};

// The magnitudes of an op's outputs. What an op holds in between, such as
// RMSNorm's sum of squares or SwiGLU's exponential, can overflow earlier.
struct OutputRange {
  // 0 if there is none but 0. A NaN makes it NaN, and every headroom.
  double largest = 0;
  // Of those that are not 0, and no NaN; infinite if there is none.
  double smallest = std::numeric_limits<double>::infinity();
  size_t nonzero = 0;    // how many are not 0
  size_t below_f16 = 0;  // of them, below f16's smallest normal
  size_t below_f32 = 0;  // the same of f32, and of bf16

  void Add(Matrix<const double> outputs);

  FormatFit F16() const;
  FormatFit BF16() const;
  FormatFit F32() const;
};

}  // namespace ulpscope

#endif  // EXPLORER_PHENOMENA_OUTPUT_RANGE_H_
