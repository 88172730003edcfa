#include "explorer/phenomena/output_range.h"

#include <cmath>
#include <cstddef>
#include <limits>

#include "kernels/base/matrix.h"

namespace ulpscope {
namespace {

// IEEE 754 binary16: 10 bits of fraction, exponents -14 ... 15.
constexpr double kF16Largest = 0x1.FFCp15;
constexpr double kF16SmallestNormal = 0x1p-14;
// bfloat16: f32's exponents, 7 bits of fraction.
constexpr double kBF16Largest = 0x1.FEp127;
constexpr double kF32Largest = std::numeric_limits<float>::max();
constexpr double kF32SmallestNormal = std::numeric_limits<float>::min();

FormatFit Fit(const OutputRange& range, double format_largest, size_t below) {
  FormatFit fit;
  fit.headroom = std::log2(format_largest / range.largest);
  fit.underflow = range.nonzero == 0 ? 0
                                     : static_cast<double>(below) /
                                           static_cast<double>(range.nonzero);
  return fit;
}

}  // namespace

void OutputRange::Add(Matrix<const double> outputs) {
  for (size_t r = 0; r < outputs.rows; ++r) {
    for (size_t c = 0; c < outputs.cols; ++c) {
      const double x = std::fabs(outputs.Row(r)[c]);
      if (x == 0) continue;
      ++nonzero;
      if (std::isnan(x)) {
        largest = x;
        continue;
      }
      // False once it is NaN, which hence stays.
      if (x > largest) largest = x;
      if (x < smallest) smallest = x;
      if (x < kF16SmallestNormal) ++below_f16;
      if (x < kF32SmallestNormal) ++below_f32;
    }
  }
}

FormatFit OutputRange::F16() const {
  return Fit(*this, kF16Largest, below_f16);
}

FormatFit OutputRange::BF16() const {
  return Fit(*this, kBF16Largest, below_f32);
}

FormatFit OutputRange::F32() const {
  return Fit(*this, kF32Largest, below_f32);
}

}  // namespace ulpscope
