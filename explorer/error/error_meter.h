#ifndef EXPLORER_ERROR_ERROR_METER_H_
#define EXPLORER_ERROR_ERROR_METER_H_

#include <cstddef>
#include <functional>
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
  // Is told that a run was measured in full.
  using OnMeasured = std::function<void(size_t run, const TraceMetrics&)>;

  // The streams are to be the oracle's over each of the sequences, then runs of
  // plans, each over the sequence that `sequence_of_run` says. What the
  // arguments refer to must outlive it. Once it is stopped, what is shown is
  // not looked at and counts as missing.
  ErrorMeter(const ModelConfig& config, size_t num_sequences,
             std::vector<size_t> sequence_of_run, Monitor& monitor,
             Parallel& parallel, OnMeasured on_measured = nullptr);

  bool Wants(Op op) const override;
  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override;

  // [runs]: what was shown.
  std::vector<TraceMetrics> TakeMetrics() { return std::move(metrics_); }

 private:
  // The plans' runs among the streams that are over this sequence.
  std::vector<size_t> RunsOf(absl::Span<const size_t> streams,
                             size_t sequence) const;

  Monitor& monitor_;
  bool stopped_ = false;
  Parallel& parallel_;
  const std::vector<size_t> sequence_of_run_;
  const OnMeasured on_measured_;
  std::vector<KeptStates> oracles_;  // per sequence
  // [sequence][layer - 1]: rows without errors.
  std::vector<std::vector<LayerMetrics>> references_;
  std::vector<TraceMetrics> metrics_;  // [runs]
};

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_ERROR_METER_H_
