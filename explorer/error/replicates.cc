#include "explorer/error/replicates.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace ulpscope {
namespace {

constexpr double kLevel = 0.05;

}  // namespace

Mean MeanOf(absl::Span<const double> values) {
  return WeightedMeanOf(values, std::vector<double>(values.size(), 1));
}

Mean WeightedMeanOf(absl::Span<const double> values,
                    absl::Span<const double> weights) {
  double sum = 0, weight = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += weights[i] * values[i];
    weight += weights[i];
  }
  Mean mean = {sum / weight, std::nullopt};
  if (values.size() < 2) return mean;
  double squares = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double residual = weights[i] * (values[i] - mean.mean);
    squares += residual * residual;
  }
  const double n = static_cast<double>(values.size());
  mean.standard_error = std::sqrt(squares * n / (n - 1)) / weight;
  return mean;
}

double StudentTwoSided(double t, int degrees) {
  if (std::isnan(t)) return t;
  const double pi = std::acos(-1.0);
  const double theta = std::atan(std::fabs(t) / std::sqrt(degrees));
  const double s = std::sin(theta), c = std::cos(theta);
  // The series in cos^2; A is the probability of less than |t|.
  double term = 1, sum = 1;
  const bool odd = degrees % 2 != 0;
  for (int k = odd ? 3 : 2; k <= degrees - 2; k += 2) {
    term *= c * c * (k - 1) / k;
    sum += term;
  }
  double a = 0;
  if (odd) {
    a = degrees == 1 ? 2 * theta / pi : 2 / pi * (theta + s * c * sum);
  } else {
    a = s * sum;
  }
  return 1 - a < 0 ? 0 : 1 - a;
}

double StudentReach(int degrees) {
  double low = 0, high = 64;  // 12.7 of one degree
  for (int i = 0; i < 60; ++i) {
    const double t = (low + high) / 2;
    (StudentTwoSided(t, degrees) > kLevel ? low : high) = t;
  }
  return high;
}

std::optional<bool> DifferInMean(absl::Span<const double> a,
                                 absl::Span<const double> b) {
  if (a.size() < 2) return std::nullopt;
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) {
    differences.push_back(a[i] - b[i]);
    if (!std::isfinite(differences.back())) return std::nullopt;
  }
  const Mean mean = MeanOf(differences);
  // All pairs alike: no spread to tell a difference from.
  if (*mean.standard_error == 0) return mean.mean != 0;
  return StudentTwoSided(mean.mean / *mean.standard_error,
                         static_cast<int>(a.size()) - 1) < kLevel;
}

}  // namespace ulpscope
