#include "tests/kernels/strategy/engine_formats.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ulpscope::engine_models {
namespace {

bool IsZeroOrNotFinite(double x) { return x == 0 || !std::isfinite(x); }

}  // namespace

double RoundToNearest(const FloatFormat& format, double x) {
  double rounded = x;
  if (!IsZeroOrNotFinite(x)) {
    const int exponent = std::max(std::ilogb(x), format.least_exponent);
    const int unit = exponent - format.fraction_bits;
    // Exact: x / unit is below 2^24 but for its fraction, which is x's own.
    rounded = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  }
  if (!(std::fabs(rounded) > format.largest)) return rounded;
  return std::copysign(format.has_infinity
                           ? std::numeric_limits<double>::infinity()
                           : format.largest,
                       x);
}

double Truncate(int fraction_bits, int least_exponent, double x) {
  if (IsZeroOrNotFinite(x)) return x;
  const int unit = std::max(std::ilogb(x), least_exponent) - fraction_bits;
  return std::ldexp(std::trunc(std::ldexp(x, -unit)), unit);
}

Decomposed Decompose(const FloatFormat& format, double x) {
  if (x == 0) return {0, kZeroExponent};
  const int exponent = std::max(std::ilogb(x), format.least_exponent);
  return {std::ldexp(x, -exponent), exponent};
}

}  // namespace ulpscope::engine_models
