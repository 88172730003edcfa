#ifndef EXPLORER_ERROR_METRICS_H_
#define EXPLORER_ERROR_METRICS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/error/token_errors.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/error.h"
#include "model/trace/kept_states.h"

namespace ulpscope {

// How far values are from a reference, over all elements, in f64. Where a value
// or a reference is NaN, so is every figure but the ULPs, which are infinite,
// and the first such element is where the largest error is.
struct ErrorMetrics {
  double mean_abs = 0;
  double rmse = 0;
  double max_abs = 0;
  size_t max_row = 0, max_col = 0;  // where
  double mean_signed = 0;           // of value - reference
  // |value - reference| / |reference|; 0 / 0 is 0.
  double rel_l2 = 0;
  double cosine = 1;  // NaN if either is zero
  // Of f32 at the reference; none of several windows together.
  std::optional<Quantiles> ulps;
  size_t count = 0;  // elements
  double value_l2 = 0, reference_l2 = 0;
};

// Of each row: what its positions' part of the errors is. [rows].
struct RowErrors {
  std::vector<double> abs;                // sum |value - reference|
  std::vector<double> squares;            // sum (value - reference)^2
  std::vector<double> reference_squares;  // sum reference^2
};

// The two have the same shape. `rows` may be null.
ErrorMetrics Compare(Matrix<const double> value, Matrix<const double> reference,
                     RowErrors* rows = nullptr);

// Errors of some positions: of those without a massive activation, whose state
// is not so large that it alone decides what is relative to all of them.
struct PartErrors {
  double mean_abs = 0;
  double rmse = 0;
  double rel_l2 = 0;
  size_t count = 0;  // elements
  double reference_l2 = 0;
};

// Of the rows, each of `width` elements, that `leave_out` has 0 for; none if
// there is none.
std::optional<PartErrors> PartOf(const RowErrors& rows, size_t width,
                                 const std::vector<double>& leave_out);

// One row of the table: the residual stream after a layer.
struct LayerMetrics {
  size_t layer = 0;
  ErrorMetrics error;
  // Of the positions that are not massive (TokenErrors); none if all are, or
  // if the run was not finished.
  std::optional<PartErrors> ordinary;
  // Ratio of mean_abs to the previous layer's; none for the first layer and
  // after a layer without error.
  std::optional<double> growth;
  double mean = 0, std = 0;   // of the reference's stream
  double max_activation = 0;  // the reference's largest, signed; NaN if any is
  size_t max_position = 0, max_channel = 0;
  Cancellation cancellation;  // of the reference
};

// A reference's own part of it, from its stream.
LayerMetrics MetricsOfReference(size_t layer, Matrix<const double> reference,
                                const Cancellation& cancellation);

// A plan's run against the oracle's. What a run that was stopped did not get to
// is missing.
struct TraceMetrics {
  std::vector<LayerMetrics> layers;  // [1 ... num_layers]
  std::optional<ErrorMetrics> final_norm;
  std::optional<TokenErrors> tokens;
  // Of the tokens that are scored.
  std::optional<LogitMetrics> logits;
  // Geometric mean of the growths from the first layer to the last, none for
  // less than two, or if the first has no error. (The seed report's "average
  // growth rate" is their arithmetic mean, which one jump dominates: 2.632
  // where this is 1.438.)
  std::optional<double> mean_growth;

  // Nothing is missing: the logits come last.
  bool complete() const { return logits.has_value(); }

  // After the last layer, before the final norm; only if complete.
  const ErrorMetrics& final_hidden() const { return layers.back().error; }

  // Appends a layer's row, and works out the growths.
  void AddLayer(LayerMetrics row);
};

// The seed report's verdict on a mean absolute error: "[OK] Excellent" below
// 1e-3, then a step per decade down to "[ERR] Poor" from 1 on.
std::string StatusOf(double mean_abs_error);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_METRICS_H_
