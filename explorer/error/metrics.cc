#include "explorer/error/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "explorer/error/run.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/error.h"
#include "kernels/measure/norms.h"
#include "model/trace/kept_states.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Whether x is larger in magnitude than the largest so far. NaN is larger than
// any number, and the first one stays.
bool ReplacesLargest(double x, double largest) {
  if (std::isnan(largest)) return false;
  return std::isnan(x) || std::fabs(x) > std::fabs(largest);
}

// Indices of the k largest values, largest first; of equal ones the first.
std::vector<size_t> Top(const double* row, size_t n, size_t k) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  k = std::min(k, n);
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(k),
                    order.end(), [row](size_t a, size_t b) {
                      // NaN is largest, so that the order is strict and weak.
                      const bool a_nan = std::isnan(row[a]);
                      const bool b_nan = std::isnan(row[b]);
                      if (a_nan || b_nan) {
                        return a_nan != b_nan ? a_nan : a < b;
                      }
                      return row[a] != row[b] ? row[a] > row[b] : a < b;
                    });
  order.resize(k);
  return order;
}

// One position's next-token distribution.
struct PositionLogits {
  double max_abs = 0;
  double kl = 0;
  bool top1_agrees = false;
  double top10_overlap = 0;
};

PositionLogits ComparePosition(const double* v, const double* ref, size_t n) {
  PositionLogits position;
  for (size_t i = 0; i < n; ++i) {
    const double error = std::fabs(v[i] - ref[i]);
    if (ReplacesLargest(error, position.max_abs)) position.max_abs = error;
  }
  position.kl = KlDivergence(v, ref, n, LogSumExp(ref, n));
  const std::vector<size_t> top = Top(v, n, 10);
  const std::vector<size_t> ref_top = Top(ref, n, 10);
  // A NaN is no prediction: it agrees with nothing.
  const auto agrees = [v, ref](size_t token) {
    return !std::isnan(v[token]) && !std::isnan(ref[token]);
  };
  position.top1_agrees = top[0] == ref_top[0] && agrees(top[0]);
  double shared = 0;
  for (const size_t token : ref_top) {
    if (agrees(token) && absl::c_linear_search(top, token)) {
      shared += 1;
    }
  }
  position.top10_overlap = shared / static_cast<double>(ref_top.size());
  return position;
}

}  // namespace

ErrorMetrics Compare(Matrix<const double> value,
                     Matrix<const double> reference) {
  ErrorMetrics metrics;
  double sum_abs = 0, sum = 0, sum_squares = 0;
  double value_squares = 0, reference_squares = 0, dot = 0;
  std::vector<double> ulps;
  ulps.reserve(value.rows * value.cols);
  for (size_t r = 0; r < value.rows; ++r) {
    for (size_t c = 0; c < value.cols; ++c) {
      const double v = value.Row(r)[c];
      const double ref = reference.Row(r)[c];
      const double error = v - ref;
      sum += error;
      sum_abs += std::fabs(error);
      sum_squares += error * error;
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
  }
  const double n = static_cast<double>(value.rows * value.cols);
  metrics.mean_abs = sum_abs / n;
  metrics.mean_signed = sum / n;
  metrics.rmse = std::sqrt(sum_squares / n);
  metrics.rel_l2 =
      RatioOrZero(std::sqrt(sum_squares), std::sqrt(reference_squares));
  metrics.cosine = dot / std::sqrt(value_squares * reference_squares);
  metrics.ulps = QuantilesOf(std::move(ulps));
  return metrics;
}

double LogSumExp(const double* row, size_t n) {
  const double max = *std::max_element(row, row + n);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(row[i] - max);
  return max + std::log(sum);
}

double KlDivergence(const double* value, const double* reference, size_t n,
                    double reference_norm) {
  const double norm = LogSumExp(value, n);
  double kl = 0;
  for (size_t i = 0; i < n; ++i) {
    const double log_p = reference[i] - reference_norm;
    kl += std::exp(log_p) * (log_p - (value[i] - norm));
  }
  // Rounding can take a KL divergence of nothing below 0.
  return kl < 0 ? 0 : kl;
}

std::optional<LogitMetrics> CompareLogits(Matrix<const double> value,
                                          Matrix<const double> reference,
                                          Monitor& monitor,
                                          Parallel& parallel) {
  constexpr size_t kBlock = 64;  // of positions: a fraction of a second
  LogitMetrics metrics;
  if (value.rows == 0) return metrics;
  double agree = 0, overlap = 0;
  std::vector<PositionLogits> block;
  for (size_t begin = 0; begin < value.rows; begin += kBlock) {
    if (monitor.stopped()) return std::nullopt;
    block.resize(std::min(kBlock, value.rows - begin));
    parallel.For(block.size(), [&](size_t i) {
      block[i] = ComparePosition(value.Row(begin + i), reference.Row(begin + i),
                                 value.cols);
    });
    for (const PositionLogits& position : block) {
      if (ReplacesLargest(position.max_abs, metrics.max_abs)) {
        metrics.max_abs = position.max_abs;
      }
      metrics.kl += position.kl;
      if (ReplacesLargest(position.kl, metrics.kl_max)) {
        metrics.kl_max = position.kl;
      }
      if (position.top1_agrees) agree += 1;
      overlap += position.top10_overlap;
    }
  }
  const double rows = static_cast<double>(value.rows);
  metrics.kl /= rows;
  metrics.top1_agreement = agree / rows;
  metrics.top10_overlap = overlap / rows;
  return metrics;
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
