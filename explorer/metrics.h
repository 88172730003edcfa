#ifndef EXPLORER_METRICS_H_
#define EXPLORER_METRICS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/matrix.h"
#include "kernels/measure/error.h"
#include "model/trace.h"

namespace ulpscope {

// How far values are from a reference, over all elements, in f64. NaN wherever
// a value is NaN.
struct ErrorMetrics {
  double mean_abs = 0;
  double rmse = 0;
  double max_abs = 0;
  size_t max_row = 0, max_col = 0;  // where
  double mean_signed = 0;           // of value - reference
  double rel_l2 = 0;                // |value - reference| / |reference|
  double cosine = 1;
  Quantiles ulps = {};  // of f32 at the reference
};

// The two have the same shape.
ErrorMetrics Compare(Matrix<const double> value,
                     Matrix<const double> reference);

// How far next-token distributions are from a reference, over positions.
struct LogitMetrics {
  double max_abs = 0;         // of the logits
  double kl = 0;              // mean KL(reference || value), nats
  double kl_max = 0;          // of any position
  double top1_agreement = 1;  // share of positions
  double top10_overlap = 1;   // mean share of the reference's ten likeliest
};

LogitMetrics CompareLogits(Matrix<const double> value,
                           Matrix<const double> reference);

// One row of the table: the residual stream after a layer.
struct LayerMetrics {
  size_t layer = 0;
  ErrorMetrics error;
  // Ratio of mean_abs to the previous layer's; NaN for the first layer and
  // after a layer without error.
  double growth = 0;
  double std = 0;             // of the reference's stream
  double max_activation = 0;  // the reference's largest, signed
  size_t max_position = 0, max_channel = 0;
  Cancellation cancellation;  // of the reference
};

// A plan's trace against the oracle's.
struct TraceMetrics {
  std::vector<LayerMetrics> layers;  // [1 ... num_layers]
  ErrorMetrics final_norm;
  LogitMetrics logits;
  // Geometric mean of the growths from the first layer to the last.
  double mean_growth = 0;

  // After the last layer, before the final norm.
  const ErrorMetrics& final_hidden() const { return layers.back().error; }
};

TraceMetrics CompareTraces(const Trace& value, const Trace& reference);

// The seed report's verdict on a mean absolute error: "[OK] Excellent" below
// 1e-3, then a step per decade down to "[ERR] Poor" from 1 on.
std::string StatusOf(double mean_abs_error);

}  // namespace ulpscope

#endif  // EXPLORER_METRICS_H_
