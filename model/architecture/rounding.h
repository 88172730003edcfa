#ifndef MODEL_ARCHITECTURE_ROUNDING_H_
#define MODEL_ARCHITECTURE_ROUNDING_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace ulpscope {

// Roundings to nearest, ties to even, of single numbers. Numbers too large
// become infinite; NaN and infinities stay.

// To bf16, by way of f32, as kernels do.
inline float RoundedToBF16(double x) {
  const float narrow = static_cast<float>(x);
  if (!std::isfinite(narrow)) return narrow;
  uint32_t bits;
  std::memcpy(&bits, &narrow, sizeof(bits));
  // A carry out of the mantissa is one into the exponent, up to infinity.
  bits += 0x7FFF + ((bits >> 16) & 1);
  bits &= 0xFFFF0000;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

// To IEEE binary16, in one rounding.
inline double RoundedToF16(double x) {
  constexpr double kLeastNormal = 0x1p-14;
  // The first number that is nearer to 2^16 than to the largest, 65504.
  constexpr double kOverflow = 65520;
  const double magnitude = std::abs(x);
  if (!(magnitude < kOverflow)) {
    return std::isnan(x)
               ? x
               : std::copysign(std::numeric_limits<double>::infinity(), x);
  }
  if (magnitude < kLeastNormal) {
    // In [2^28, 2^29) f64 has the spacing of f16's subnormals, 2^-24.
    return std::copysign(magnitude + 0x1p28 - 0x1p28, x);
  }
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  constexpr int kDropped = 52 - 10;  // bits of the mantissa
  bits += (uint64_t{1} << (kDropped - 1)) - 1 + ((bits >> kDropped) & 1);
  bits &= ~((uint64_t{1} << kDropped) - 1);
  double result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_ROUNDING_H_
