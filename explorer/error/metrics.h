#ifndef EXPLORER_ERROR_METRICS_H_
#define EXPLORER_ERROR_METRICS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
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
  double cosine = 1;    // NaN if either is zero
  Quantiles ulps = {};  // of f32 at the reference
};

// The two have the same shape.
ErrorMetrics Compare(Matrix<const double> value,
                     Matrix<const double> reference);

// log(sum(exp(row))) of n values.
double LogSumExp(const double* row, size_t n);

// KL(reference || value) of the distributions that two rows of n logits stand
// for, nats, at least 0; `reference_norm` is the reference's LogSumExp. Below
// some 1e-14 it is rounding: the terms of the sum are not.
double KlDivergence(const double* value, const double* reference, size_t n,
                    double reference_norm);

// How far next-token distributions are from a reference, over positions. Of
// equal logits the one of the smaller token is the likelier; a NaN agrees with
// nothing. Vocabularies of less than ten tokens have that many likeliest.
struct LogitMetrics {
  double max_abs = 0;         // of the logits
  double kl = 0;              // mean KL(reference || value), nats
  double kl_max = 0;          // of any position
  double top1_agreement = 1;  // share of positions
  double top10_overlap = 1;   // mean share of the reference's ten likeliest
};

// Positions at the same time. Nothing if stopped.
std::optional<LogitMetrics> CompareLogits(Matrix<const double> value,
                                          Matrix<const double> reference,
                                          Monitor& monitor, Parallel& parallel);

// One row of the table: the residual stream after a layer.
struct LayerMetrics {
  size_t layer = 0;
  ErrorMetrics error;
  // Ratio of mean_abs to the previous layer's; none for the first layer and
  // after a layer without error.
  std::optional<double> growth;
  double std = 0;             // of the reference's stream
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
