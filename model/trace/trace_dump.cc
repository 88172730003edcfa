#include "model/trace/trace_dump.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "kernels/base/packed.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/decoder/decoder.h"
#include "model/decoder/observer.h"
#include "model/trace/trace_names.h"
#include "model/trace/trace_writer.h"

namespace ulpscope {
namespace {

// Hands what a pass over all positions shows to a writer.
class DumpObserver : public Observer {
 public:
  DumpObserver(const ModelConfig& config, size_t positions,
               const TraceDumpOptions& options, TraceWriter* writer)
      : config_(config),
        num_layers_(static_cast<size_t>(config.num_hidden_layers)),
        positions_(positions),
        options_(options),
        writer_(*writer) {}

  // Of writing, the first error.
  const absl::Status& status() const { return status_; }

  void OnOutput(size_t layer, Op op, size_t first_position,
                Matrix<const double> rows) override {
    if (!status_.ok()) return;
    if (op == Op::kQk || op == Op::kSoftmax) {
      if (writer_.WantsOutput(layer, op)) {
        KeepScores(layer, op, first_position, rows);
      }
      return;
    }
    if (writer_.WantsOutput(layer, op)) WriteOutput(layer, op, rows);
    const bool normed = options_.last_state_is_normed;
    if (op == Op::kEmbed ||
        (op == Op::kMlpResidual && (layer < num_layers_ || !normed))) {
      WriteState(layer, rows);
    } else if (op == Op::kFinalNorm && normed) {
      WriteState(num_layers_, rows);
    }
    if (options_.progress == nullptr) return;
    if (op == Op::kMlpResidual) options_.progress(layer, num_layers_ + 1);
    if (op == Op::kLmHead) options_.progress(num_layers_ + 1, num_layers_ + 1);
  }

 private:
  static std::vector<int64_t> Shape(Matrix<const double> rows) {
    return {static_cast<int64_t>(rows.rows), static_cast<int64_t>(rows.cols)};
  }

  void WriteOutput(size_t layer, Op op, Matrix<const double> rows) {
    const std::vector<std::string> names = TraceNamesOf(layer, op);
    if (op != Op::kRope) {
      status_.Update(writer_.WriteOutput(names[0], Shape(rows), Packed(rows)));
      return;
    }
    const size_t q_size = static_cast<size_t>(config_.q_size());
    const Matrix<const double> q(rows.data, rows.rows, q_size, rows.stride);
    const Matrix<const double> k(rows.data + q_size, rows.rows,
                                 rows.cols - q_size, rows.stride);
    status_.Update(writer_.WriteOutput(names[0], Shape(q), Packed(q)));
    status_.Update(writer_.WriteOutput(names[1], Shape(k), Packed(k)));
  }

  void WriteState(size_t index, Matrix<const double> rows) {
    status_.Update(writer_.WriteState(index, Shape(rows), Packed(rows)));
  }

  // Scores come a position at a time: [heads, first_position + 1].
  void KeepScores(size_t layer, Op op, size_t position,
                  Matrix<const double> rows) {
    std::vector<double>& all = scores_[op == Op::kQk ? 0 : 1];
    if (position == 0) all.assign(rows.rows * positions_ * positions_, 0);
    for (size_t head = 0; head < rows.rows; ++head) {
      std::copy_n(rows.Row(head), rows.cols,
                  all.data() + (head * positions_ + position) * positions_);
    }
    if (position + 1 < positions_) return;
    const int64_t n = static_cast<int64_t>(positions_);
    status_.Update(writer_.WriteOutput(TraceNamesOf(layer, op)[0],
                                       {static_cast<int64_t>(rows.rows), n, n},
                                       all));
  }

  const ModelConfig& config_;
  const size_t num_layers_;
  const size_t positions_;
  const TraceDumpOptions& options_;
  TraceWriter& writer_;
  std::vector<double> scores_[2];  // qk, softmax: [heads, positions, positions]
  absl::Status status_;
};

}  // namespace

absl::Status DumpTrace(const Weights& weights, const Plan& plan,
                       absl::Span<const int32_t> tokens, absl::string_view path,
                       const TraceDumpOptions& options, Parallel& parallel) {
  absl::StatusOr<std::unique_ptr<TraceWriter>> writer =
      TraceWriter::Create(path, weights.config, plan, tokens, options);
  if (!writer.ok()) return writer.status();
  DumpObserver observer(weights.config, tokens.size(), options, writer->get());
  Decoder decoder(weights, plan, tokens.size(), parallel);
  decoder.set_stop([&] {
    return !observer.status().ok() ||
           (options.stop != nullptr && options.stop());
  });
  const absl::Status status = decoder.Forward(tokens, Logits::kAll, &observer);
  if (!observer.status().ok()) return observer.status();
  if (!status.ok()) return status;
  return (*writer)->Finish();
}

}  // namespace ulpscope
