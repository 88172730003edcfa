#include "explorer/error/error_meter.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "explorer/error/massive.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "explorer/error/token_errors.h"
#include "kernels/base/matrix.h"
#include "kernels/base/packed.h"
#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/trace/kept_states.h"

namespace ulpscope {

ErrorMeter::ErrorMeter(const ModelConfig& config,
                       std::vector<Measurement> measurements, Monitor& monitor,
                       Parallel& parallel, OnMeasured on_measured)
    : monitor_(monitor),
      parallel_(parallel),
      measurements_(std::move(measurements)),
      on_measured_(std::move(on_measured)),
      metrics_(measurements_.size()),
      rows_(measurements_.size()) {
  for (size_t i = 0; i < measurements_.size(); ++i) {
    const Measurement& m = measurements_[i];
    references_.try_emplace(m.reference, config);
    measured_of_.resize(std::max(measured_of_.size(), m.value + 1));
    measured_of_[m.value].push_back(i);
  }
}

bool ErrorMeter::Wants(Op op) const { return KeptStates::Keeps(op); }

void ErrorMeter::OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                          size_t first_position, Matrix<const double> rows) {
  stopped_ = stopped_ || monitor_.stopped();
  if (stopped_) return;
  for (const size_t stream : streams) {
    const auto reference = references_.find(stream);
    if (reference == references_.end()) continue;
    Keep(layer, op, first_position, rows, reference->second);
    if (stopped_) return;
  }
  if (op != Op::kMlpResidual && op != Op::kFinalNorm && op != Op::kLmHead) {
    return;
  }
  std::map<size_t, std::vector<size_t>> measured;  // by reference
  for (const size_t stream : streams) {
    if (stream >= measured_of_.size()) continue;
    for (const size_t i : measured_of_[stream]) {
      measured[measurements_[i].reference].push_back(i);
    }
  }
  // What waited was shown before.
  MeasureWaiting();
  for (const auto& [stream, of] : measured) {
    if (stopped_) return;
    const Reference& reference = references_.at(stream);
    if (Has(reference, layer, op)) {
      Measure(of, reference, layer, op, rows);
    } else {
      waiting_.push_back({stream, of, layer, op, Packed(rows), rows.cols});
    }
  }
}

bool ErrorMeter::Has(const Reference& reference, size_t layer, Op op) {
  return op == Op::kLmHead      ? !reference.log_sum_exps.empty()
         : op == Op::kFinalNorm ? reference.has_norm
                                : reference.layers.size() >= layer;
}

void ErrorMeter::MeasureWaiting() {
  std::vector<Waiting> still;
  for (Waiting& w : waiting_) {
    const Reference& reference = references_.at(w.reference);
    if (stopped_ || !Has(reference, w.layer, w.op)) {
      still.push_back(std::move(w));
      continue;
    }
    Measure(w.measured, reference, w.layer, w.op,
            {w.rows.data(), w.rows.size() / w.cols, w.cols});
  }
  waiting_ = std::move(still);
}

void ErrorMeter::Keep(size_t layer, Op op, size_t first_position,
                      Matrix<const double> rows, Reference& reference) {
  reference.states.OnOutput(layer, op, first_position, rows);
  if (op == Op::kEmbed || op == Op::kMlpResidual) {
    reference.massive.resize(rows.rows, 0);
    for (size_t r = 0; r < rows.rows; ++r) {
      if (IsMassive({rows.Row(r), rows.cols})) reference.massive[r] = 1;
    }
  }
  if (op == Op::kMlpResidual) {
    reference.layers.push_back(MetricsOfReference(
        layer, rows, reference.states.CancellationAt(layer)));
  }
  if (op == Op::kFinalNorm) reference.has_norm = true;
  if (op == Op::kLmHead) {
    auto norms = LogSumExps(rows, monitor_, parallel_);
    stopped_ = !norms.has_value();
    if (!stopped_) reference.log_sum_exps = *std::move(norms);
  }
}

void ErrorMeter::Measure(absl::Span<const size_t> measured,
                         const Reference& reference, size_t layer, Op op,
                         Matrix<const double> rows) {
  if (op == Op::kLmHead) return MeasureLogits(measured, reference, rows);
  if (op == Op::kFinalNorm) {
    const ErrorMetrics error = Compare(rows, reference.states.FinalNorm());
    for (const size_t i : measured) metrics_[i].final_norm = error;
    return;
  }
  LayerMetrics row = reference.layers[layer - 1];
  RowErrors of_rows;
  row.error = Compare(rows, reference.states.State(layer), &of_rows);
  for (const size_t i : measured) {
    metrics_[i].AddLayer(row);
    rows_[i].push_back(of_rows);
  }
}

void ErrorMeter::MeasureLogits(absl::Span<const size_t> measured,
                               const Reference& reference,
                               Matrix<const double> rows) {
  TokenErrors errors;
  stopped_ = !CompareTokens(
      rows, reference.states.Logits(), reference.log_sum_exps,
      measurements_[measured[0]].tokens, monitor_, parallel_, errors);
  if (stopped_) return;
  errors.massive = reference.massive;
  for (const size_t i : measured) {
    TraceMetrics& metrics = metrics_[i];
    TokenErrors& tokens = metrics.tokens.emplace(errors);
    for (size_t l = 0; l < metrics.layers.size(); ++l) {
      const RowErrors& of_rows = rows_[i][l];
      metrics.layers[l].ordinary =
          PartOf(of_rows, metrics.layers[l].error.count / of_rows.abs.size(),
                 tokens.massive);
    }
    // Streams that share their logits need not have shared their states.
    if (!rows_[i].empty()) {
      for (const double squares : rows_[i].back().squares) {
        tokens.error_l2.push_back(std::sqrt(squares));
      }
      for (const double squares : rows_[i].back().reference_squares) {
        tokens.reference_l2.push_back(std::sqrt(squares));
      }
    }
    rows_[i].clear();
    metrics.logits = LogitMetricsOf(tokens, measurements_[i].first_scored,
                                    measurements_[i].end_scored);
    if (on_measured_) on_measured_(i, metrics);
  }
}

}  // namespace ulpscope
