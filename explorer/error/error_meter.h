#ifndef EXPLORER_ERROR_ERROR_METER_H_
#define EXPLORER_ERROR_ERROR_METER_H_

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
#include "model/lockstep/lockstep.h"
#include "model/trace/kept_states.h"

namespace ulpscope {

// Measures plans against the oracle while all of them run in lockstep over some
// sequences of tokens. Only the oracle's runs are kept; what several plans
// share is measured once.
class ErrorMeter : public LockstepObserver {
 public:
  // What the arguments refer to must outlive it. Once it is stopped, what is
  // shown is not looked at and counts as missing.
  ErrorMeter(const ModelConfig& config, size_t num_sequences, size_t num_plans,
             Monitor& monitor, Parallel& parallel);

  // The streams are to be the oracle's over each of the sequences, then a
  // plan's over each of them, and so on.
  size_t OracleStream(size_t sequence) const { return sequence; }
  size_t PlanStream(size_t plan, size_t sequence) const {
    return (plan + 1) * oracles_.size() + sequence;
  }

  bool Wants(Op op) const override;
  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override;

  // [plan][sequence]: what was shown.
  std::vector<std::vector<TraceMetrics>> TakeMetrics() {
    return std::move(metrics_);
  }

 private:
  // The plans among the streams that run over this sequence.
  std::vector<TraceMetrics*> PlansOf(absl::Span<const size_t> streams,
                                     size_t sequence);

  Monitor& monitor_;
  bool stopped_ = false;
  Parallel& parallel_;
  std::vector<KeptStates> oracles_;  // per sequence
  // [sequence][layer - 1]: rows without errors.
  std::vector<std::vector<LayerMetrics>> references_;
  std::vector<std::vector<TraceMetrics>> metrics_;
};

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_ERROR_METER_H_
