#include "explorer/error/error_meter.h"

#include <cstddef>
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
                       size_t num_plans, Monitor& monitor, Parallel& parallel)
    : monitor_(monitor),
      parallel_(parallel),
      oracles_(num_sequences, KeptStates(config)),
      references_(num_sequences),
      metrics_(num_plans, std::vector<TraceMetrics>(num_sequences)) {}

bool ErrorMeter::Wants(Op op) const { return KeptStates::Keeps(op); }

void ErrorMeter::OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                          size_t first_position, Matrix<const double> rows) {
  stopped_ = stopped_ || monitor_.stopped();
  if (stopped_) return;
  for (size_t sequence = 0; sequence < oracles_.size(); ++sequence) {
    KeptStates& oracle = oracles_[sequence];
    for (const size_t stream : streams) {
      if (stream != OracleStream(sequence)) continue;
      oracle.OnOutput(layer, op, first_position, rows);
      if (op == Op::kMlpResidual) {
        references_[sequence].push_back(
            MetricsOfReference(layer, rows, oracle.CancellationAt(layer)));
      }
    }
    if (op != Op::kMlpResidual && op != Op::kFinalNorm && op != Op::kLmHead) {
      continue;
    }
    const std::vector<TraceMetrics*> plans = PlansOf(streams, sequence);
    if (plans.empty()) continue;
    if (op == Op::kLmHead) {
      const auto logits =
          CompareLogits(rows, oracle.Logits(), monitor_, parallel_);
      for (TraceMetrics* plan : plans) plan->logits = logits;
    } else if (op == Op::kFinalNorm) {
      const ErrorMetrics error = Compare(rows, oracle.FinalNorm());
      for (TraceMetrics* plan : plans) plan->final_norm = error;
    } else {
      LayerMetrics row = references_[sequence][layer - 1];
      row.error = Compare(rows, oracle.State(layer));
      for (TraceMetrics* plan : plans) plan->AddLayer(row);
    }
  }
}

std::vector<TraceMetrics*> ErrorMeter::PlansOf(absl::Span<const size_t> streams,
                                               size_t sequence) {
  std::vector<TraceMetrics*> plans;
  for (const size_t stream : streams) {
    const size_t run = stream / oracles_.size();
    if (run == 0 || stream % oracles_.size() != sequence) continue;
    plans.push_back(&metrics_[run - 1][sequence]);
  }
  return plans;
}

}  // namespace ulpscope
