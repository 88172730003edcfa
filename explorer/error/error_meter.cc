#include "explorer/error/error_meter.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/trace/kept_states.h"

namespace ulpscope {

ErrorMeter::ErrorMeter(const ModelConfig& config, size_t num_sequences,
                       std::vector<size_t> sequence_of_run, Monitor& monitor,
                       Parallel& parallel, OnMeasured on_measured)
    : monitor_(monitor),
      parallel_(parallel),
      sequence_of_run_(std::move(sequence_of_run)),
      on_measured_(std::move(on_measured)),
      oracles_(num_sequences, KeptStates(config)),
      references_(num_sequences),
      metrics_(sequence_of_run_.size()) {}

bool ErrorMeter::Wants(Op op) const { return KeptStates::Keeps(op); }

void ErrorMeter::OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                          size_t first_position, Matrix<const double> rows) {
  stopped_ = stopped_ || monitor_.stopped();
  if (stopped_) return;
  for (size_t sequence = 0; sequence < oracles_.size(); ++sequence) {
    KeptStates& oracle = oracles_[sequence];
    for (const size_t stream : streams) {
      if (stream != sequence) continue;
      oracle.OnOutput(layer, op, first_position, rows);
      if (op == Op::kMlpResidual) {
        references_[sequence].push_back(
            MetricsOfReference(layer, rows, oracle.CancellationAt(layer)));
      }
    }
    if (op != Op::kMlpResidual && op != Op::kFinalNorm && op != Op::kLmHead) {
      continue;
    }
    const std::vector<size_t> runs = RunsOf(streams, sequence);
    if (runs.empty()) continue;
    if (op == Op::kLmHead) {
      const auto logits =
          CompareLogits(rows, oracle.Logits(), monitor_, parallel_);
      for (const size_t run : runs) {
        metrics_[run].logits = logits;
        if (logits.has_value() && on_measured_) {
          on_measured_(run, metrics_[run]);
        }
      }
    } else if (op == Op::kFinalNorm) {
      const ErrorMetrics error = Compare(rows, oracle.FinalNorm());
      for (const size_t run : runs) metrics_[run].final_norm = error;
    } else {
      LayerMetrics row = references_[sequence][layer - 1];
      row.error = Compare(rows, oracle.State(layer));
      for (const size_t run : runs) metrics_[run].AddLayer(row);
    }
  }
}

std::vector<size_t> ErrorMeter::RunsOf(absl::Span<const size_t> streams,
                                       size_t sequence) const {
  std::vector<size_t> runs;
  for (const size_t stream : streams) {
    if (stream < oracles_.size()) continue;
    const size_t run = stream - oracles_.size();
    if (sequence_of_run_[run] == sequence) runs.push_back(run);
  }
  return runs;
}

}  // namespace ulpscope
