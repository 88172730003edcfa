#ifndef EXPLORER_ERROR_ERROR_METER_H_
#define EXPLORER_ERROR_ERROR_METER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
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

// What is measured: one stream's run against another's over the same tokens.
struct Measurement {
  size_t value, reference;  // streams, in any order
  absl::Span<const int32_t> tokens;
  size_t first_scored = 0, end_scored = SIZE_MAX;  // as of a Window
};

// Makes measurements while all of their streams run in lockstep. Only the
// references' runs are kept, and what is shown of values before their
// references, as where a value shares its outputs with an earlier stream, until
// these come; what several streams share is measured once.
class ErrorMeter : public LockstepObserver {
 public:
  // Is told that a measurement was made in full.
  using OnMeasured =
      std::function<void(size_t measurement, const TraceMetrics&)>;

  // What the arguments refer to must outlive it. Once it is stopped, what is
  // shown is not looked at and counts as missing.
  ErrorMeter(const ModelConfig& config, std::vector<Measurement> measurements,
             Monitor& monitor, Parallel& parallel,
             OnMeasured on_measured = nullptr);

  bool Wants(Op op) const override;
  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override;

  // [measurements]: what was shown.
  std::vector<TraceMetrics> TakeMetrics() { return std::move(metrics_); }

 private:
  struct Reference {
    explicit Reference(const ModelConfig& config) : states(config) {}
    KeptStates states;
    std::vector<LayerMetrics> layers;  // [layer - 1]: rows without errors
    std::vector<double> log_sum_exps;  // [positions], of the logits
    std::vector<double> massive;       // [positions], of TokenErrors
    bool has_norm = false;             // whether its final norm was shown
  };
  // Rows that wait for their reference.
  struct Waiting {
    size_t reference;
    std::vector<size_t> measured;
    size_t layer;
    Op op;
    std::vector<double> rows;
    size_t cols;
  };

  void Keep(size_t layer, Op op, size_t first_position,
            Matrix<const double> rows, Reference& reference);
  // Whether the reference's output there was kept.
  static bool Has(const Reference& reference, size_t layer, Op op);
  // Measures what waited for outputs that are kept by now.
  void MeasureWaiting();
  // `measured` are all of one reference, and of the same rows.
  void Measure(absl::Span<const size_t> measured, const Reference& reference,
               size_t layer, Op op, Matrix<const double> rows);
  void MeasureLogits(absl::Span<const size_t> measured,
                     const Reference& reference, Matrix<const double> rows);

  Monitor& monitor_;
  bool stopped_ = false;
  Parallel& parallel_;
  const std::vector<Measurement> measurements_;
  // [streams]: which measurements are of them.
  std::vector<std::vector<size_t>> measured_of_;
  const OnMeasured on_measured_;
  std::map<size_t, Reference> references_;  // by stream
  std::vector<Waiting> waiting_;            // in the order of their outputs
  std::vector<TraceMetrics> metrics_;       // [measurements]
  // [measurements][layer - 1]: of each position.
  std::vector<std::vector<RowErrors>> rows_;
};

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_ERROR_METER_H_
