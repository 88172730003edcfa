#include "explorer/error/pooled.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/types/span.h"
#include "explorer/error/metrics.h"
#include "explorer/error/token_errors.h"
#include "explorer/error/windows.h"
#include "kernels/measure/norms.h"

namespace ulpscope {
namespace {

double Squared(double x) { return x * x; }

ErrorMetrics PooledErrors(absl::Span<const ErrorMetrics* const> parts,
                          absl::Span<const size_t> first_rows) {
  ErrorMetrics all;
  double abs = 0, sum = 0, squares = 0, dot = 0;
  double value_squares = 0, reference_squares = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const ErrorMetrics& part = *parts[i];
    const double n = static_cast<double>(part.count);
    all.count += part.count;
    abs += part.mean_abs * n;
    sum += part.mean_signed * n;
    squares += Squared(part.rmse) * n;
    // No cosine of a zero: the dot product is none either.
    const double norms = part.value_l2 * part.reference_l2;
    dot += norms == 0 ? 0 : part.cosine * norms;
    value_squares += Squared(part.value_l2);
    reference_squares += Squared(part.reference_l2);
    if (ReplacesLargest(part.max_abs, all.max_abs)) {
      all.max_abs = part.max_abs;
      all.max_row = first_rows[i] + part.max_row;
      all.max_col = part.max_col;
    }
  }
  const double n = static_cast<double>(all.count);
  all.mean_abs = abs / n;
  all.mean_signed = sum / n;
  all.rmse = std::sqrt(squares / n);
  all.value_l2 = std::sqrt(value_squares);
  all.reference_l2 = std::sqrt(reference_squares);
  all.rel_l2 = RatioOrZero(std::sqrt(squares), all.reference_l2);
  all.cosine = dot / (all.value_l2 * all.reference_l2);
  return all;
}

std::optional<PartErrors> PooledParts(
    absl::Span<const LayerMetrics* const> layers) {
  PartErrors all;
  double abs = 0, squares = 0, reference_squares = 0;
  for (const LayerMetrics* layer : layers) {
    if (!layer->ordinary.has_value()) continue;
    const PartErrors& part = *layer->ordinary;
    const double n = static_cast<double>(part.count);
    all.count += part.count;
    abs += part.mean_abs * n;
    squares += Squared(part.rmse) * n;
    reference_squares += Squared(part.reference_l2);
  }
  if (all.count == 0) return std::nullopt;
  const double n = static_cast<double>(all.count);
  all.mean_abs = abs / n;
  all.rmse = std::sqrt(squares / n);
  all.reference_l2 = std::sqrt(reference_squares);
  all.rel_l2 = RatioOrZero(std::sqrt(squares), all.reference_l2);
  return all;
}

// The larger in magnitude, and NaN before any.
double Larger(double a, double b) { return ReplacesLargest(b, a) ? b : a; }

LayerMetrics PooledLayer(absl::Span<const LayerMetrics* const> layers,
                         absl::Span<const size_t> first_rows) {
  LayerMetrics all;
  all.layer = layers[0]->layer;
  std::vector<const ErrorMetrics*> errors;
  for (const LayerMetrics* layer : layers) errors.push_back(&layer->error);
  all.error = PooledErrors(errors, first_rows);
  all.ordinary = PooledParts(layers);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerMetrics& layer = *layers[i];
    const double n = static_cast<double>(layer.error.count);
    sum += layer.mean * n;
    squares += (Squared(layer.std) + Squared(layer.mean)) * n;
    if (ReplacesLargest(layer.max_activation, all.max_activation)) {
      all.max_activation = layer.max_activation;
      all.max_position = first_rows[i] + layer.max_position;
      all.max_channel = layer.max_channel;
    }
    all.cancellation.attn =
        Larger(all.cancellation.attn, layer.cancellation.attn);
    all.cancellation.mlp = Larger(all.cancellation.mlp, layer.cancellation.mlp);
  }
  const double n = static_cast<double>(all.error.count);
  all.mean = sum / n;
  const double variance = squares / n - Squared(all.mean);
  all.std = variance < 0 ? 0 : std::sqrt(variance);
  return all;
}

// Means of the positions that are scored.
LogitMetrics PooledLogits(absl::Span<const TraceMetrics> metrics,
                          absl::Span<const Window> windows) {
  LogitMetrics all = {0, 0, 0, 0, 0};
  double positions = 0;
  for (size_t i = 0; i < metrics.size(); ++i) {
    const LogitMetrics& part = *metrics[i].logits;
    const double n =
        static_cast<double>(windows[i].end_scored - windows[i].first_scored);
    positions += n;
    all.max_abs = Larger(all.max_abs, part.max_abs);
    all.kl_max = Larger(all.kl_max, part.kl_max);
    all.kl += part.kl * n;
    all.top1_agreement += part.top1_agreement * n;
    all.top10_overlap += part.top10_overlap * n;
  }
  all.kl /= positions;
  all.top1_agreement /= positions;
  all.top10_overlap /= positions;
  return all;
}

}  // namespace

TraceMetrics Pooled(absl::Span<const TraceMetrics> metrics,
                    absl::Span<const Window> windows) {
  if (metrics.size() == 1) return metrics[0];
  TraceMetrics all;
  std::vector<size_t> first_rows = {0};
  size_t num_layers = SIZE_MAX;
  for (size_t i = 0; i < metrics.size(); ++i) {
    num_layers = std::min(num_layers, metrics[i].layers.size());
    first_rows.push_back(first_rows.back() + windows[i].tokens.size());
  }
  for (size_t l = 0; l < num_layers; ++l) {
    std::vector<const LayerMetrics*> layers;
    for (const TraceMetrics& m : metrics) layers.push_back(&m.layers[l]);
    all.AddLayer(PooledLayer(layers, first_rows));
  }
  std::vector<const ErrorMetrics*> norms;
  for (const TraceMetrics& m : metrics) {
    if (m.final_norm.has_value()) norms.push_back(&*m.final_norm);
  }
  if (norms.size() == metrics.size()) {
    all.final_norm = PooledErrors(norms, first_rows);
  }
  if (absl::c_all_of(metrics, [](const auto& m) { return m.complete(); })) {
    all.logits = PooledLogits(metrics, windows);
  }
  return all;
}

}  // namespace ulpscope
