#include "explorer/error/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "explorer/error/token_errors.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/error.h"
#include "kernels/measure/norms.h"
#include "model/trace/kept_states.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

ErrorMetrics Compare(Matrix<const double> value, Matrix<const double> reference,
                     RowErrors* rows) {
  ErrorMetrics metrics;
  double sum_abs = 0, sum = 0, sum_squares = 0;
  double value_squares = 0, reference_squares = 0, dot = 0;
  std::vector<double> ulps;
  ulps.reserve(value.rows * value.cols);
  for (size_t r = 0; r < value.rows; ++r) {
    double row_abs = 0, row_squares = 0, row_reference = 0;
    for (size_t c = 0; c < value.cols; ++c) {
      const double v = value.Row(r)[c];
      const double ref = reference.Row(r)[c];
      const double error = v - ref;
      sum += error;
      sum_abs += std::fabs(error);
      sum_squares += error * error;
      row_abs += std::fabs(error);
      row_squares += error * error;
      row_reference += ref * ref;
      value_squares += v * v;
      reference_squares += ref * ref;
      dot += v * ref;
      if (ReplacesLargest(error, metrics.max_abs)) {
        metrics.max_abs = std::fabs(error);
        metrics.max_row = r;
        metrics.max_col = c;
      }
      // UlpError takes two NaN for equal; here that would look like accuracy.
      ulps.push_back(std::isnan(error) ? kNaN : UlpError(Format::kF32, v, ref));
    }
    if (rows == nullptr) continue;
    rows->abs.push_back(row_abs);
    rows->squares.push_back(row_squares);
    rows->reference_squares.push_back(row_reference);
  }
  const double n = static_cast<double>(value.rows * value.cols);
  metrics.mean_abs = sum_abs / n;
  metrics.mean_signed = sum / n;
  metrics.rmse = std::sqrt(sum_squares / n);
  metrics.rel_l2 =
      RatioOrZero(std::sqrt(sum_squares), std::sqrt(reference_squares));
  metrics.cosine = dot / std::sqrt(value_squares * reference_squares);
  metrics.ulps = QuantilesOf(std::move(ulps));
  metrics.count = value.rows * value.cols;
  metrics.value_l2 = std::sqrt(value_squares);
  metrics.reference_l2 = std::sqrt(reference_squares);
  return metrics;
}

std::optional<PartErrors> PartOf(const RowErrors& rows, size_t width,
                                 const std::vector<double>& leave_out) {
  double abs = 0, squares = 0, reference = 0;
  size_t count = 0;
  for (size_t r = 0; r < rows.abs.size(); ++r) {
    if (leave_out[r] != 0) continue;
    abs += rows.abs[r];
    squares += rows.squares[r];
    reference += rows.reference_squares[r];
    count += width;
  }
  if (count == 0) return std::nullopt;
  const double n = static_cast<double>(count);
  const double reference_l2 = std::sqrt(reference);
  return PartErrors{abs / n, std::sqrt(squares / n),
                    RatioOrZero(std::sqrt(squares), reference_l2), count,
                    reference_l2};
}

LayerMetrics MetricsOfReference(size_t layer, Matrix<const double> reference,
                                const Cancellation& cancellation) {
  LayerMetrics metrics;
  metrics.layer = layer;
  metrics.cancellation = cancellation;
  double sum = 0, sum_squares = 0;
  for (size_t r = 0; r < reference.rows; ++r) {
    for (size_t c = 0; c < reference.cols; ++c) {
      const double x = reference.Row(r)[c];
      sum += x;
      sum_squares += x * x;
      if (ReplacesLargest(x, metrics.max_activation)) {
        metrics.max_activation = x;
        metrics.max_position = r;
        metrics.max_channel = c;
      }
    }
  }
  const double n = static_cast<double>(reference.rows * reference.cols);
  const double mean = sum / n;
  const double variance = sum_squares / n - mean * mean;
  metrics.mean = mean;
  metrics.std = variance < 0 ? 0 : std::sqrt(variance);
  return metrics;
}

void TraceMetrics::AddLayer(LayerMetrics row) {
  const double previous = layers.empty() ? 0 : layers.back().error.mean_abs;
  if (previous != 0) row.growth = row.error.mean_abs / previous;
  layers.push_back(std::move(row));
  const double first = layers.front().error.mean_abs;
  const double last = layers.back().error.mean_abs;
  const double steps = static_cast<double>(layers.size()) - 1;
  if (steps > 0 && first != 0) mean_growth = std::pow(last / first, 1 / steps);
}

std::string StatusOf(double mean_abs_error) {
  if (mean_abs_error < 1e-3) return "[OK] Excellent";
  if (mean_abs_error < 1e-2) return "[OK] Good";
  if (mean_abs_error < 1e-1) return "[WARN] Acceptable";
  if (mean_abs_error < 1) return "[WARN] Degraded";
  return "[ERR] Poor";
}

}  // namespace ulpscope
