#include "explorer/phenomena/phenomena.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/error/run.h"
#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/output_range.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/decoder/decoder.h"
#include "model/decoder/observer.h"

namespace ulpscope {
namespace {

// Rows of one call: enough to share the reading of weights, few enough that
// logits take little memory and a stop is soon seen.
constexpr size_t kPositionsAtOnce = 8;

bool IsStream(Op op) {
  return op == Op::kEmbed || op == Op::kAttnResidual || op == Op::kMlpResidual;
}

// The first NaN or infinity of a run.
class BreakdownWatch {
 public:
  void Add(size_t layer, Op op, size_t first_position,
           Matrix<const double> rows) {
    if (found_.has_value()) return;
    // qk and softmax show one position, with a row per head.
    const bool one_position = op == Op::kQk || op == Op::kSoftmax;
    for (size_t r = 0; r < rows.rows; ++r) {
      for (size_t c = 0; c < rows.cols; ++c) {
        if (std::isfinite(rows.Row(r)[c])) continue;
        found_ = {layer, op, first_position + (one_position ? 0 : r),
                  one_position ? r * rows.cols + c : c, rows.Row(r)[c]};
        return;
      }
    }
  }

  const std::optional<Breakdown>& found() const { return found_; }

 private:
  std::optional<Breakdown> found_;
};

// Sums over the elements seen, of any number of calls.
class Moments {
 public:
  void Add(Matrix<const double> rows) {
    count_ += static_cast<double>(rows.rows * rows.cols);
    for (size_t r = 0; r < rows.rows; ++r) {
      for (size_t c = 0; c < rows.cols; ++c) {
        const double x = rows.Row(r)[c];
        sum_ += x;
        squares_ += x * x;
      }
    }
  }

  double Norm() const { return std::sqrt(squares_); }

  double Std() const {
    const double mean = sum_ / count_;
    const double variance = squares_ / count_ - mean * mean;
    return variance < 0 ? 0 : std::sqrt(variance);
  }

 private:
  double count_ = 0, sum_ = 0, squares_ = 0;
};

// Gathers from the oracle's run what Phenomena says of it, and keeps the stream
// of the latest positions.
class OracleWatch : public Observer {
 public:
  explicit OracleWatch(size_t num_layers)
      : stream_(num_layers + 1), states_(num_layers + 1) {}

  void OnOutput(size_t layer, Op op, size_t first_position,
                Matrix<const double> rows) override {
    breakdown_.Add(layer, op, first_position, rows);
    AddRange(layer, op, rows);
    if (IsStream(op)) {
      massive_.Add(layer, op, first_position, rows);
      (op == Op::kAttnResidual ? stream_[layer].middle : stream_[layer].end)
          .Add(rows);
      if (op != Op::kAttnResidual) Keep(rows, states_[layer]);
    } else if (op == Op::kOProj) {
      stream_[layer].attn_update.Add(rows);
    } else if (op == Op::kDownProj) {
      stream_[layer].mlp_update.Add(rows);
    }
  }

  // [positions of the latest call, hidden].
  Matrix<const double> State(size_t layer, size_t rows) const {
    return {states_[layer].data(), rows, states_[layer].size() / rows};
  }

  void Report(Phenomena& phenomena) const {
    phenomena.massive = massive_.Found();
    phenomena.headrooms = headrooms_;
    phenomena.oracle_breakdown = breakdown_.found();
    phenomena.cancellations.clear();
    for (size_t layer = 1; layer < stream_.size(); ++layer) {
      const LayerStream& s = stream_[layer];
      const Moments& start = stream_[layer - 1].end;
      phenomena.cancellations.push_back(
          Cancelling(layer, Op::kAttnResidual, start, s.attn_update, s.middle));
      phenomena.cancellations.push_back(
          Cancelling(layer, Op::kMlpResidual, s.middle, s.mlp_update, s.end));
    }
  }

 private:
  struct LayerStream {
    Moments attn_update, middle, mlp_update, end;
  };

  static void Keep(Matrix<const double> from, std::vector<double>& to) {
    to.clear();
    for (size_t r = 0; r < from.rows; ++r) {
      to.insert(to.end(), from.Row(r), from.Row(r) + from.cols);
    }
  }

  static CancellingAdd Cancelling(size_t layer, Op op, const Moments& x,
                                  const Moments& u, const Moments& sum) {
    return {layer, op, (x.Norm() + u.Norm()) / sum.Norm(), x.Std(), sum.Std()};
  }

  void AddRange(size_t layer, Op op, Matrix<const double> rows) {
    const auto [at, is_new] =
        headroom_at_.insert({{layer, op}, headrooms_.size()});
    if (is_new) headrooms_.push_back({layer, op, {}});
    headrooms_[at->second].range.Add(rows);
  }

  MassiveChannels massive_;
  BreakdownWatch breakdown_;
  std::vector<LayerStream> stream_;  // [num_layers + 1]; of 0 the end alone
  std::vector<std::vector<double>> states_;  // the same
  std::vector<Headroom> headrooms_;
  std::map<std::pair<size_t, Op>, size_t> headroom_at_;
};

// Compares the plan's run with the oracle's, which is to have run the same
// positions last.
class PlanWatch : public Observer {
 public:
  explicit PlanWatch(const OracleWatch& oracle, size_t num_layers)
      : oracle_(oracle), errors_(num_layers + 1) {}

  void OnOutput(size_t layer, Op op, size_t first_position,
                Matrix<const double> rows) override {
    breakdown_.Add(layer, op, first_position, rows);
    if (op == Op::kEmbed || op == Op::kMlpResidual) {
      errors_[layer].Add(rows, oracle_.State(layer, rows.rows));
    }
  }

  void Report(Phenomena& phenomena) const {
    phenomena.plan_breakdown = breakdown_.found();
    for (size_t layer = 0; layer < errors_.size(); ++layer) {
      phenomena.concentrations.push_back(errors_[layer].ConcentrationAt(layer));
      phenomena.biases.push_back(errors_[layer].BiasAt(layer));
    }
  }

 private:
  const OracleWatch& oracle_;
  BreakdownWatch breakdown_;
  std::vector<ChannelErrors> errors_;  // [num_layers + 1]
};

}  // namespace

absl::StatusOr<Phenomena> FindPhenomena(const Run& run, const Plan& plan,
                                        absl::Span<const int32_t> tokens) {
  if (tokens.empty()) {
    return absl::InvalidArgumentError("no tokens to find phenomena in");
  }
  const size_t num_layers = run.weights.layers.size();
  const auto oracle_plan = Plan::Parse("oracle", num_layers);
  if (!oracle_plan.ok()) return oracle_plan.status();
  Decoder oracle(run.weights, *oracle_plan, tokens.size(), run.parallel);
  Decoder decoder(run.weights, plan, tokens.size(), run.parallel);
  OracleWatch oracle_watch(num_layers);
  PlanWatch plan_watch(oracle_watch, num_layers);

  Phenomena phenomena;
  while (phenomena.positions < tokens.size()) {
    if (run.monitor.stopped()) break;
    const auto some = tokens.subspan(phenomena.positions, kPositionsAtOnce);
    absl::Status status = oracle.Forward(some, Logits::kAll, &oracle_watch);
    if (!status.ok()) return status;
    status = decoder.Forward(some, Logits::kAll, &plan_watch);
    if (!status.ok()) return status;
    phenomena.positions += some.size();
  }
  if (phenomena.positions == 0) return phenomena;
  oracle_watch.Report(phenomena);
  plan_watch.Report(phenomena);
  return phenomena;
}

}  // namespace ulpscope
