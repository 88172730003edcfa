#include "kernels/measure/error.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/measure/norms.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct FormatLimits {
  int precision;  // bits, with the implicit one
  int min_exponent, max_exponent;
};

FormatLimits LimitsOf(Format format) {
  switch (format) {
    case Format::kF16:
      return {11, -14, 15};
    case Format::kBF16:
      return {8, -126, 127};
    case Format::kF32:
      return {24, -126, 127};
    case Format::kF64:
      break;
  }
  return {53, -1022, 1023};
}

}  // namespace

double SpacingAt(Format format, double x) {
  if (std::isnan(x)) return kNaN;
  const FormatLimits limits = LimitsOf(format);
  int exponent = limits.max_exponent;
  if (x == 0.0) {
    exponent = limits.min_exponent;
  } else if (std::isfinite(x)) {
    exponent =
        std::clamp(std::ilogb(x), limits.min_exponent, limits.max_exponent);
  }
  return std::ldexp(1.0, exponent - limits.precision + 1);
}

double UlpError(Format format, double result, double reference) {
  if (!std::isfinite(result) || !std::isfinite(reference)) {
    const bool same =
        result == reference || (std::isnan(result) && std::isnan(reference));
    return same ? 0.0 : kInfinity;
  }
  // Divided first, which is exact and cannot overflow the difference.
  const double spacing = SpacingAt(format, reference);
  return std::fabs(result / spacing - reference / spacing);
}

double ErrorInU(double error, double sum_abs) {
  return RatioOrZero(std::fabs(error), sum_abs) / UnitRoundoff(Format::kF32);
}

Quantiles QuantilesOf(std::vector<double> values) {
  if (values.empty()) return {kNaN, kNaN, kNaN};
  for (double& value : values) {
    if (std::isnan(value)) value = kInfinity;
  }
  // Each leaves what is larger behind it, for the next.
  auto begin = values.begin();
  const auto percentile = [&](uint64_t percent) {
    const uint64_t rank = (percent * values.size() + 99) / 100;  // from 1
    const auto at = values.begin() + static_cast<ptrdiff_t>(rank - 1);
    std::nth_element(begin, at, values.end());
    begin = at;
    return *at;
  };
  const double p50 = percentile(50), p99 = percentile(99);
  return {p50, p99, *std::max_element(begin, values.end())};
}

}  // namespace ulpscope
