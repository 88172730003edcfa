#include "explorer/phenomena/phenomena.h"

#include <cmath>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "explorer/error/baseline.h"
#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/flips.h"
#include "explorer/phenomena/large_scores.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/output_range.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "kernels/base/packed.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// Positions of which a breakdown is the first whatever comes in an earlier
// layer at later positions: as a run sees them that takes so many at a time.
constexpr size_t kPositionsAtOnce = 8;

bool IsStream(Op op) {
  return op == Op::kEmbed || op == Op::kAttnResidual || op == Op::kMlpResidual;
}

// The first NaN or infinity of a run.
class BreakdownWatch {
 public:
  void Add(size_t layer, Op op, size_t first_position,
           Matrix<const double> rows) {
    // qk and softmax show one position, with a row per head.
    const bool one_position = op == Op::kQk || op == Op::kSoftmax;
    for (size_t r = 0; r < rows.rows; ++r) {
      const size_t position = first_position + (one_position ? 0 : r);
      if (found_.has_value() &&
          position / kPositionsAtOnce >= found_->position / kPositionsAtOnce) {
        return;
      }
      for (size_t c = 0; c < rows.cols; ++c) {
        if (std::isfinite(rows.Row(r)[c])) continue;
        found_ = {layer, op, position, one_position ? r * rows.cols + c : c,
                  rows.Row(r)[c]};
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

Format Coarser(Format a, Format b) {
  return UnitRoundoff(a) < UnitRoundoff(b) ? b : a;
}

// The type of a strategy's accumulators, in which fused attention goes on.
Format LanesOf(const StrategyInfo& info) {
  return absl::StartsWith(info.sums, "f64") ? Format::kF64 : Format::kF32;
}

// Of what holds scores between the product and the softmax: what the one writes
// or the other reads.
Format FormatOfScores(const Plan& plan, size_t layer) {
  const StrategyInfo& qk = plan.Get(layer, Op::kQk).info();
  const StrategyInfo& softmax = plan.Get(layer, Op::kSoftmax).info();
  return plan.attention(layer).fused() ? Coarser(LanesOf(qk), LanesOf(softmax))
                                       : Coarser(qk.result, softmax.operand);
}

}  // namespace

bool IsNamed(const LargeScore& score) {
  const std::optional<double> factor = score.weight_factor();
  return factor.has_value() && *factor - 1 > kNamedWeightError;
}

// Gathers from the reference's run what Phenomena says of it.
class PhenomenaWatch::ReferenceWatch {
 public:
  explicit ReferenceWatch(size_t num_layers) : stream_(num_layers + 1) {}

  void OnOutput(size_t layer, Op op, size_t first_position,
                Matrix<const double> rows) {
    breakdown_.Add(layer, op, first_position, rows);
    AddRange(layer, op, rows);
    if (IsStream(op)) {
      massive_.Add(layer, op, first_position, rows);
      (op == Op::kAttnResidual ? stream_[layer].middle : stream_[layer].end)
          .Add(rows);
    } else if (op == Op::kQk) {
      scores_.AddScores(layer, first_position, rows);
    } else if (op == Op::kSoftmax) {
      scores_.AddWeights(layer, first_position, rows);
    } else if (op == Op::kOProj) {
      stream_[layer].attn_update.Add(rows);
    } else if (op == Op::kDownProj) {
      stream_[layer].mlp_update.Add(rows);
    }
  }

  void Report(Phenomena& phenomena) const {
    phenomena.massive = massive_.Found();
    phenomena.headrooms = headrooms_;
    phenomena.large_scores = scores_.Found();
    phenomena.reference_breakdown = breakdown_.found();
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
  LargeScores scores_;
  BreakdownWatch breakdown_;
  std::vector<LayerStream> stream_;  // [num_layers + 1]; of 0 the end alone
  std::vector<Headroom> headrooms_;
  std::map<std::pair<size_t, Op>, size_t> headroom_at_;
};

// Compares the plan's run with the reference's.
class PhenomenaWatch::PlanWatch {
 public:
  explicit PlanWatch(size_t num_layers)
      : states_(num_layers + 1), errors_(num_layers + 1) {}

  void OnOutput(size_t layer, Op op, size_t first_position,
                Matrix<const double> rows) {
    breakdown_.Add(layer, op, first_position, rows);
    if (IsStream(op)) massive_.Add(layer, op, first_position, rows);
  }

  std::vector<MassiveChannel> massive() const { return massive_.Found(); }

  void OnReferencesState(size_t layer, Matrix<const double> stream) {
    states_[layer] = Packed(stream);
  }

  // After the reference's.
  void OnState(size_t layer, Matrix<const double> stream) {
    errors_[layer].Add(stream,
                       {states_[layer].data(), stream.rows, stream.cols});
    states_[layer] = std::vector<double>();
  }

  void Report(Phenomena& phenomena) const {
    phenomena.plan_breakdown = breakdown_.found();
    for (size_t layer = 0; layer < errors_.size(); ++layer) {
      phenomena.concentrations.push_back(errors_[layer].ConcentrationAt(layer));
      phenomena.biases.push_back(errors_[layer].BiasAt(layer));
    }
  }

 private:
  BreakdownWatch breakdown_;
  MassiveChannels massive_;
  std::vector<std::vector<double>>
      states_;                         // [num_layers + 1], the reference's
  std::vector<ChannelErrors> errors_;  // [num_layers + 1]
};

PhenomenaWatch::PhenomenaWatch(size_t num_layers)
    : reference_(std::make_unique<ReferenceWatch>(num_layers)),
      plan_(std::make_unique<PlanWatch>(num_layers)) {}

PhenomenaWatch::~PhenomenaWatch() = default;

void PhenomenaWatch::OnOutput(absl::Span<const size_t> streams, size_t layer,
                              Op op, size_t first_position,
                              Matrix<const double> rows) {
  for (const size_t stream : streams) {
    if (stream == 0) reference_->OnOutput(layer, op, first_position, rows);
    if (stream == 1) plan_->OnOutput(layer, op, first_position, rows);
    if (op != Op::kSoftmax) continue;
    if (stream == 0) weights_.AddReference(layer, first_position, rows);
    if (stream == 1) weights_.AddPlan(layer, first_position, rows);
  }
}

void PhenomenaWatch::OnState(absl::Span<const size_t> streams, size_t layer,
                             Matrix<const double> stream,
                             Matrix<const double> /*carry*/) {
  for (const size_t s : streams) {
    if (s == 0) plan_->OnReferencesState(layer, stream);
    if (s == 1) plan_->OnState(layer, stream);
  }
}

Phenomena PhenomenaWatch::Found(const Baseline& baseline) const {
  Phenomena phenomena;
  if (!baseline.stopped_in.empty()) return phenomena;
  phenomena.positions = baseline.positions;
  reference_->Report(phenomena);
  for (LargeScore& score : phenomena.large_scores) {
    score.format = FormatOfScores(baseline.plan, score.layer);
  }
  plan_->Report(phenomena);
  phenomena.sinks = weights_.Sinks();
  phenomena.moved_weights = weights_.Moved();
  phenomena.flips = FindFlips(baseline, phenomena.massive, plan_->massive());
  phenomena.near_ties = FindNearTies(baseline);
  return phenomena;
}

}  // namespace ulpscope
