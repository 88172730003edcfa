#include "explorer/diagnosis/error_rows.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/metrics.h"
#include "explorer/phenomena/phenomena.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/activations.h"
#include "model/lockstep/lockstep.h"
#include "model/trace/kept_states.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// The states and the final norm of all streams.
class Traces : public LockstepObserver {
 public:
  Traces(const ModelConfig& config, size_t streams)
      : traces_(streams, KeptStates(config)) {}

  bool Wants(Op op) const override { return KeptStates::Keeps(op); }

  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override {
    for (const size_t s : streams) {
      traces_[s].OnOutput(layer, op, first_position, rows);
    }
  }

  const KeptStates& Of(size_t stream) const { return traces_[stream]; }

 private:
  std::vector<KeptStates> traces_;
};

// States between layers alone: those of a trace, or of a run of ours where the
// trace has one too.
class GivenStates : public GivenOutputs {
 public:
  GivenStates(const AlignedTrace& aligned, const KeptStates* instead)
      : aligned_(aligned), instead_(instead) {}

  Rows Get(size_t layer, Op op) const override {
    if (op != Op::kEmbed && op != Op::kMlpResidual) return Rows();
    const Rows rows = aligned_.Get(layer, op);
    if (instead_ == nullptr || rows.rows() == 0) return rows;
    const Matrix<const double> state = instead_->State(layer);
    Rows copy = Rows::Allocate(state.rows, state.cols);
    for (size_t r = 0; r < state.rows; ++r) {
      std::copy_n(state.Row(r), state.cols, copy.view().Row(r));
    }
    return copy;
  }

 private:
  const AlignedTrace& aligned_;
  const KeptStates* instead_;
};

// Of a run, the rows at the positions that a tensor has.
Matrix<const double> At(Matrix<const double> rows, const TracedTensor& tensor) {
  return {rows.Row(tensor.first_position), tensor.rows.rows(), rows.cols,
          rows.stride};
}

class RowMaker {
 public:
  RowMaker(const Traces& runs, const KeptStates& own_layers,
           const ReferenceTrace& trace, const AlignedTrace& aligned,
           const std::set<size_t>& differing)
      : oracle_(runs.Of(0)),
        ours_(runs.Of(1)),
        replay_(runs.Of(2)),
        own_layers_(own_layers),
        trace_(trace),
        aligned_(aligned),
        differing_(differing),
        num_layers_(oracle_.num_layers()) {}

  absl::StatusOr<std::vector<ErrorRow>> Make(Monitor& monitor) {
    std::vector<ErrorRow> rows;
    for (size_t layer = 1; layer <= num_layers_; ++layer) {
      if (monitor.stopped()) return absl::CancelledError("stopped");
      ErrorRow row;
      row.layer = layer;
      if (!Fill(row)) continue;
      if (!rows.empty() && rows.back().error.mean_abs != 0) {
        row.growth = row.error.mean_abs / rows.back().error.mean_abs;
      }
      rows.push_back(row);
    }
    return rows;
  }

 private:
  const TracedTensor* AlignedTensor(size_t layer, Op op) const {
    const int at = aligned_.Find(layer, op);
    return at < 0 ? nullptr : aligned_.points()[static_cast<size_t>(at)].tensor;
  }

  // What a reader of the trace takes for the state after the layer: the
  // module's output, or the entry of the list with that index.
  const TracedTensor* GivenTensor(size_t layer) const {
    const auto output = trace_.outputs.find({layer, Op::kMlpResidual});
    if (output != trace_.outputs.end()) return &output->second;
    const auto state = trace_.states.find(layer);
    return state == trace_.states.end() ? nullptr : &state->second;
  }

  bool Fill(ErrorRow& row) {
    const size_t layer = row.layer;
    const TracedTensor* given = GivenTensor(layer);
    const TracedTensor* raw = AlignedTensor(layer, Op::kMlpResidual);
    const TracedTensor* normed = layer == num_layers_ && raw == nullptr
                                     ? AlignedTensor(0, Op::kFinalNorm)
                                     : nullptr;
    const TracedTensor* right = raw != nullptr ? raw : normed;
    if (given == nullptr) given = right;
    if (given == nullptr) return false;
    row.error = Compare(At(ours_.State(layer), *given), given->rows.view());
    if (right == nullptr) {
      // The list has something else in its place, and nothing of this layer.
      row.error_aligned = row.error;
      if (std::isfinite(row.error.rmse)) row.shares.emplace().comparison = 1;
      return true;
    }
    const auto of = [&](const KeptStates& run) {
      return At(normed != nullptr ? run.FinalNorm() : run.State(layer), *right);
    };
    const Matrix<const double> theirs = right->rows.view();
    row.error_aligned = Compare(of(ours_), theirs);
    const double elements = static_cast<double>(theirs.rows * theirs.cols);
    const double as_given = row.error.rmse * row.error.rmse;
    const double as_aligned = row.error_aligned.rmse * row.error_aligned.rmse;
    ErrorShares shares;
    // Not the same tensor, or of ours not the same place.
    if ((given != right || normed != nullptr) && as_given > 0) {
      shares.comparison = std::max(0.0, 1 - as_aligned / as_given);
    }
    const double traces_own = SquaredDistance(theirs, of(replay_));
    const double our_own = SquaredDistance(of(ours_), of(own_layers_));
    const double inherited = SquaredDistance(of(own_layers_), of(replay_));
    const double all = traces_own + our_own + inherited;
    if (!(all > 0) || !std::isfinite(all)) {
      distance_ = std::sqrt(as_aligned * elements);
      norm_ = Norm2(of(oracle_));
      if (all == 0 && std::isfinite(as_given)) row.shares = shares;
      return true;
    }
    const double norm = Norm2(of(oracle_));
    const Cancellation& adds = oracle_.CancellationAt(layer);
    const double growth =
        distance_ > 0 ? std::sqrt(inherited) / norm / (distance_ / norm_) : 0;
    double exposed = exposed_;
    if (std::max(adds.attn, adds.mlp) >= kNamedCancellation && growth > 1) {
      exposed += (1 - exposed) * (1 - 1 / (growth * growth));
    }
    const double rest = 1 - shares.comparison;
    const bool differs =
        differing_.count(layer) > 0 ||
        (normed != nullptr && differing_.count(num_layers_ + 1) > 0);
    (differs ? shares.difference : shares.rounding) = rest * traces_own / all;
    shares.own = rest * our_own / all;
    shares.inherited = rest * inherited / all * (1 - exposed);
    shares.cancellation = rest * inherited / all * exposed;
    if (std::isfinite(as_given)) row.shares = shares;
    exposed_ = exposed * inherited / all;
    distance_ = std::sqrt(as_aligned * elements);
    norm_ = norm;
    return true;
  }

  const KeptStates& oracle_;
  const KeptStates& ours_;
  const KeptStates& replay_;      // the oracle's layers of the trace's states
  const KeptStates& own_layers_;  // the oracle's layers of our states
  const ReferenceTrace& trace_;
  const AlignedTrace& aligned_;
  const std::set<size_t>& differing_;
  const size_t num_layers_;
  // Of the row before: the distance, the oracle's norm, and the exposed share.
  double distance_ = 0, norm_ = 1, exposed_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<ErrorRow>> MakeErrorRows(
    const ReplaySetting& setting, const Weights& weights, const Plan& plan,
    const ReferenceTrace& trace, const AlignedTrace& aligned,
    const std::set<size_t>& differing) {
  LockstepOptions options;
  options.memory = setting.memory;
  options.stop = StopOf(setting.monitor);
  const auto run = [&](absl::Span<const Stream> streams, Traces& traces) {
    return RunLockstep(weights, streams, options, traces, setting.parallel);
  };
  Stream stream = {Plan::Oracle(weights.layers.size()), setting.tokens};
  std::vector<Stream> streams(3, stream);
  streams[1].plan = plan;
  const GivenStates of_trace(aligned, nullptr);
  streams[2].given = &of_trace;
  Traces runs(weights.config, streams.size());
  absl::Status status = run(streams, runs);
  if (!status.ok()) return status;
  const GivenStates of_ours(aligned, &runs.Of(1));
  stream.given = &of_ours;
  Traces own(weights.config, 1);
  status = run({stream}, own);
  if (!status.ok()) return status;
  return RowMaker(runs, own.Of(0), trace, aligned, differing)
      .Make(setting.monitor);
}

}  // namespace ulpscope
