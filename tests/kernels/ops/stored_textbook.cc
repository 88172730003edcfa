#include "tests/kernels/ops/stored_textbook.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/format.h"
#include "tests/kernels/ops/textbook.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Every E4M3 that is no NaN and not negative, ascending: 8 subnormal numbers,
// then 15 binades of 8 but for the last code, which is NaN.
std::vector<double> MagnitudesOfE4M3() {
  std::vector<double> all;
  for (int code = 0; code < 0x7F; ++code) {
    const int exponent = code / 8;
    const int fraction = code % 8;
    all.push_back(exponent == 0 ? std::ldexp(fraction, -9)
                                : std::ldexp(8 + fraction, exponent - 10));
  }
  return all;
}

double NearestE4M3(double x) {
  if (std::isnan(x)) return x;
  static const auto* const all = new std::vector<double>(MagnitudesOfE4M3());
  const double magnitude = std::min(std::fabs(x), all->back());
  size_t best = 0;
  for (size_t code = 1; code < all->size(); ++code) {
    const double nearer = std::fabs((*all)[code] - magnitude) -
                          std::fabs((*all)[best] - magnitude);
    // Of two that are as near the even code.
    if (nearer < 0 || (nearer == 0 && code % 2 == 0)) best = code;
  }
  return std::copysign((*all)[best], x);
}

float LargestMagnitude(const std::vector<float>& x) {
  float amax = 0;
  for (const float value : x) amax = std::max(amax, std::fabs(value));
  return amax;
}

std::vector<double> Int8(const std::vector<float>& x) {
  const float scale = LargestMagnitude(x) / 127;
  std::vector<double> y;
  for (const float value : x) {
    int q = 0;
    if (scale != 0) {
      const float quotient = value / scale;
      q = static_cast<int>(std::nearbyint(std::clamp(quotient, -127.f, 127.f)));
    }
    y.push_back(scale * static_cast<float>(q));
  }
  return y;
}

float Inverse(float numerator, float denominator) {
  const float inverse = numerator / denominator;
  return denominator == 0 || std::isinf(inverse) ? 0 : inverse;
}

std::vector<double> Q8(const std::vector<float>& x) {
  const float amax = LargestMagnitude(x);
  const float scale = static_cast<float>(Rounded(Format::kF16, amax / 127));
  const float factor = Inverse(127, amax);
  std::vector<double> y;
  for (const float value : x) {
    const float scaled = value * factor;
    y.push_back(scale * static_cast<float>(std::lrint(scaled)));
  }
  return y;
}

std::vector<double> Q4(const std::vector<float>& x) {
  float amax = 0, most = 0;
  for (const float value : x) {
    if (std::fabs(value) > amax) {
      amax = std::fabs(value);
      most = value;
    }
  }
  const float step = most / -8;
  const float factor = Inverse(1, step);
  const float scale = static_cast<float>(Rounded(Format::kF16, step));
  std::vector<double> y;
  for (const float value : x) {
    const float product = value * factor;
    const float shifted = product + 8.5F;
    const int q = std::min(15, static_cast<int>(shifted));
    y.push_back(scale * static_cast<float>(q - 8));
  }
  return y;
}

// How many values share a scale; 0 where none do.
size_t BlockOf(absl::string_view strategy, size_t n) {
  if (strategy == "int8") return n;
  return strategy == "q8_0" || strategy == "q4_0" ? 32 : 0;
}

}  // namespace

std::vector<double> TextbookStored(absl::string_view strategy,
                                   absl::Span<const double> x) {
  const size_t block = BlockOf(strategy, x.size());
  std::vector<double> y;
  for (size_t first = 0; block > 0 && first < x.size(); first += block) {
    std::vector<float> values;
    bool finite = true;
    for (size_t i = first; i < std::min(first + block, x.size()); ++i) {
      values.push_back(static_cast<float>(x[i]));
      finite = finite && std::isfinite(values.back());
    }
    const std::vector<double> stored =
        !finite              ? std::vector<double>(values.size(), kNaN)
        : strategy == "int8" ? Int8(values)
        : strategy == "q8_0" ? Q8(values)
                             : Q4(values);
    y.insert(y.end(), stored.begin(), stored.end());
  }
  if (block > 0) return y;
  for (const double value : x) {
    y.push_back(strategy == "bf16"  ? Rounded(Format::kBF16, value)
                : strategy == "f16" ? Rounded(Format::kF16, value)
                : strategy == "fp8" ? NearestE4M3(static_cast<float>(value))
                                    : value);
  }
  return y;
}

double StoredErrorBound(absl::string_view strategy, absl::Span<const double> x,
                        size_t i) {
  const double magnitude = std::fabs(x[i]);
  const double u32 = UnitRoundoff(Format::kF32);
  if (strategy == "bf16") return 0x1p-8 * magnitude + 0x1p-134;
  if (strategy == "f16") return 0x1p-11 * magnitude + 0x1p-25;
  if (strategy == "fp8") return std::max(0x1p-4 * magnitude, 0x1p-10);
  const size_t block = BlockOf(strategy, x.size());
  if (block == 0) return 0;
  double amax = 0;
  const size_t first = i / block * block;
  for (size_t j = first; j < std::min(first + block, x.size()); ++j) {
    amax = std::max(amax, std::fabs(x[j]));
  }
  // Half a step; the step's own roundings, times up to 127 of it; and what its
  // f16 loses below the normal ones.
  if (strategy == "int8") return amax * (1 / 254.0 + 4 * u32);
  if (strategy == "q8_0") {
    return amax * (1 / 254.0 + 0x1p-11 + 4 * u32) + 127 * 0x1p-25;
  }
  // The end on the other side of the largest has one code less: a step there.
  const bool clipped = magnitude > 7.5 / 8 * amax * (1 - 8 * u32);
  return amax / 8 * (clipped ? 1 : 0.5) + amax * (0x1p-11 + 8 * u32) +
         8 * 0x1p-25;
}

}  // namespace ulpscope
