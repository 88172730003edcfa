#include "explorer/error/massive.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/types/span.h"

namespace ulpscope {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

}  // namespace

double MedianMagnitude(absl::Span<const double> row) {
  std::vector<double> magnitudes(row.size());
  for (size_t c = 0; c < row.size(); ++c) {
    magnitudes[c] = std::isnan(row[c]) ? kInf : std::fabs(row[c]);
  }
  const auto middle =
      magnitudes.begin() + static_cast<ptrdiff_t>((magnitudes.size() - 1) / 2);
  std::nth_element(magnitudes.begin(), middle, magnitudes.end());
  return *middle;
}

bool IsMassive(double magnitude, double median, double scale) {
  return magnitude > scale * kMassiveMagnitude &&
         magnitude >= scale * kMassiveRatio * median && median < kInf;
}

bool IsMassive(absl::Span<const double> row) {
  double largest = 0;
  for (const double x : row) {
    if (std::fabs(x) > largest) largest = std::fabs(x);
  }
  // Few hidden states come that far, and a median takes a copy.
  return largest > kMassiveMagnitude &&
         IsMassive(largest, MedianMagnitude(row), 1);
}

}  // namespace ulpscope
