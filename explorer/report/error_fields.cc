#include "explorer/report/error_fields.h"

#include <optional>
#include <string>
#include <vector>

#include "explorer/error/metrics.h"
#include "explorer/results/schema.h"
#include "kernels/measure/error.h"

namespace ulpscope {
namespace {

std::optional<double> OfUlps(const ErrorMetrics& error,
                             double Quantiles::*figure) {
  if (!error.ulps.has_value()) return std::nullopt;
  return (*error.ulps).*figure;
}

}  // namespace

std::optional<double> OrdinaryRelL2(const TraceMetrics& metrics) {
  if (!metrics.complete() || !metrics.layers.back().ordinary.has_value()) {
    return std::nullopt;
  }
  return metrics.layers.back().ordinary->rel_l2;
}

const Fields<ErrorMetrics>& ErrorMetricsFields() {
  using E = ErrorMetrics;
  const auto a = Unit::kActivation;
  static const auto* fields = new Fields<ErrorMetrics>{
      {"mean_abs", "Mean Abs Error", a, "Mean absolute error.", &E::mean_abs},
      {"rmse", "RMSE", a, "Root of the mean squared error.", &E::rmse},
      {"max_abs", "Max Error", a, "Largest absolute error.", &E::max_abs},
      {"max_position", "", Unit::kNone, "Its position.", &E::max_row},
      {"max_channel", "", Unit::kNone, "Its channel.", &E::max_col},
      {"mean_signed", "", a, "Mean of value - reference.", &E::mean_signed},
      {"rel_l2", "Rel L2", Unit::kRelative,
       "2-norm of the error by that of the reference.", &E::rel_l2},
      {"cosine", "Cosine", Unit::kNone, "Cosine of value and reference.",
       &E::cosine},
      {"p50_ulps", "", Unit::kUlps,
       "Median error, in f32's spacing; null of several windows together.",
       [](const E& e) { return OfUlps(e, &Quantiles::p50); }},
      {"p99_ulps", "", Unit::kUlps, "99th percentile of the same.",
       [](const E& e) { return OfUlps(e, &Quantiles::p99); }},
      {"max_ulps", "", Unit::kUlps, "Largest of the same.",
       [](const E& e) { return OfUlps(e, &Quantiles::max); }},
  };
  return *fields;
}

const Fields<LayerMetrics>& GrowthFields() {
  using L = LayerMetrics;
  static const auto* fields = new Fields<LayerMetrics>{
      {"growth", "Growth Rate", Unit::kRatio,
       "Ratio of mean_abs to the previous layer's; null where that has none.",
       &L::growth},
      {"status", "Status", Unit::kNone,
       "The seed report's verdict on mean_abs.",
       [](const L& l) { return StatusOf(l.error.mean_abs); }}};
  return *fields;
}

std::vector<std::string> SeedReportColumns() {
  return {"layer", "mean_abs", "rmse", "max_abs", "growth", "status"};
}

}  // namespace ulpscope
