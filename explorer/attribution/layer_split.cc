#include "explorer/attribution/layer_split.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/attribution/archived_attribution.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/error/baseline.h"
#include "explorer/error/kept.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/packed.h"
#include "kernels/measure/norms.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

ErrorSize SizeOf(const std::vector<double>& error, double reference_norm,
                 size_t hidden_size) {
  ErrorSize size;
  size.l2 = Norm2(error);
  size.rel_l2 = RatioOrZero(size.l2, reference_norm);
  for (size_t i = 0; i < error.size(); ++i) {
    const double abs = std::fabs(error[i]);
    size.mean_abs += abs;
    // The first NaN is the largest.
    if (!(abs <= size.max_abs) && !std::isnan(size.max_abs)) {
      size.max_abs = abs;
      size.max_position = i / hidden_size;
      size.max_channel = i % hidden_size;
    }
  }
  size.mean_abs /= static_cast<double>(error.size());
  return size;
}

// LayerSplit::identity_ulps.
double IdentityUlps(const std::vector<double>& total,
                    const std::vector<double>& inherited,
                    const std::vector<double>& local) {
  constexpr double kUnitRoundoff = 0x1p-53;
  double largest = 0;
  for (size_t i = 0; i < total.size(); ++i) {
    const double rest = std::fabs(total[i] - (inherited[i] + local[i]));
    const double scale = std::max(
        {std::fabs(total[i]), std::fabs(inherited[i]), std::fabs(local[i])});
    const double ulps = RatioOrZero(rest, scale) / kUnitRoundoff;
    if (!(ulps <= largest) && !std::isnan(largest)) largest = ulps;
  }
  return largest;
}

// What streams that end after the same layer end with.
class LastStates : public LockstepObserver {
 public:
  using Values = std::shared_ptr<const std::vector<double>>;

  explicit LastStates(size_t num_streams) : values_(num_streams) {}

  bool Wants(Op) const override { return false; }

  void OnOutput(absl::Span<const size_t>, size_t, Op, size_t,
                Matrix<const double>) override {}

  void OnState(absl::Span<const size_t> streams, size_t,
               Matrix<const double> stream, Matrix<const double>) override {
    const auto shared =
        std::make_shared<const std::vector<double>>(Packed(stream));
    for (const size_t s : streams) values_[s] = shared;
  }

  const std::vector<double>& Of(size_t stream) const {
    return *values_[stream];
  }

 private:
  std::vector<Values> values_;  // [streams], shared where they are the same
};

// What a plan brings into the next layer: stream + carry. The sum is exact but
// where a Kahan carry is below 2^-53 of its stream.
std::vector<double> EnteringStream(const StreamState& state) {
  std::vector<double> h = state.stream;
  for (size_t i = 0; i < state.carry.size(); ++i) h[i] += state.carry[i];
  return h;
}

// Fills the shares of the ops' error vectors, in the order of split.ops; a null
// one is 0.
void SplitByOps(const std::vector<const std::vector<double>*>& outputs,
                const std::vector<double>& reference_layer,
                const std::vector<double>& local, double reference_norm,
                LayerSplit& split) {
  const double local_squares = Dot(local, local);
  std::vector<double> rest = local;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] == nullptr) continue;
    const std::vector<double> error = Difference(*outputs[i], reference_layer);
    split.ops[i].rel_l2 = RatioOrZero(Norm2(error), reference_norm);
    split.ops[i].share = RatioOrZero(Dot(error, local), local_squares);
    rest = Difference(rest, error);
  }
  split.interaction_share = RatioOrZero(Dot(rest, local), local_squares);
}

// The embedding is an op of its own, and what it reads has no error.
LayerSplit SplitEmbedding(const Baseline& baseline) {
  LayerSplit split;
  const std::vector<double>& o = baseline.reference.states[0].stream;
  const std::vector<double>& p = baseline.run.states[0].stream;
  const std::vector<double> error = Difference(p, o);
  const double norm = baseline.reference.state_norms[0];
  split.total = SizeOf(error, norm, baseline.hidden_size);
  split.local = split.total;
  split.ops = {{Op::kEmbed, 0, 0}};
  SplitByOps({&p}, o, error, norm, split);
  return split;
}

// The reference's layer of `start`, then the same with each op under the plan
// that is not the reference's already. `stream_of_op`: the op's, or 0 for none.
std::vector<Stream> StreamsOf(const Baseline& baseline, size_t layer,
                              const StreamState& start,
                              const std::vector<Op>& ops,
                              std::vector<size_t>& stream_of_op) {
  std::vector<Stream> streams = {
      {baseline.reference_plan, baseline.tokens, layer, &start, layer}};
  for (const Op op : ops) {
    if (baseline.plan.SharesCell(baseline.reference_plan, layer, op)) {
      stream_of_op.push_back(0);
      continue;
    }
    stream_of_op.push_back(streams.size());
    Stream stream = streams[0];
    stream.plan.TakeCell(baseline.plan, layer, op);
    streams.push_back(std::move(stream));
  }
  return streams;
}

Subject SubjectOfSplit(const Run& run, const Baseline& baseline, size_t layer) {
  Subject subject =
      SubjectAgainst("layer", run, baseline, {{"plan", &baseline.plan}});
  subject.version = kLayerSplitVersion;
  subject.facts.emplace_back("layer", absl::StrCat(layer));
  return subject;
}

absl::StatusOr<LayerSplit> SplitLayer(const Run& run, const Baseline& baseline,
                                      size_t layer) {
  LayerSplit split;
  split.layer = layer;
  std::vector<Op> ops;
  for (const Cell& cell : CellsOf(run.weights.config)) {
    if (cell.layer != layer) continue;
    ops.push_back(cell.op);
    split.ops.push_back({cell.op, 0, 0});
  }
  const std::vector<double> h = EnteringStream(baseline.run.states[layer - 1]);
  // The oracle's ops read all of it. Another plan's read the stream alone, and
  // its adds may take the carry.
  const StreamState start = baseline.is_against_oracle()
                                ? StreamState{h, {}}
                                : baseline.run.states[layer - 1];
  std::vector<size_t> stream_of_op;
  const std::vector<Stream> streams =
      StreamsOf(baseline, layer, start, ops, stream_of_op);
  LastStates last(streams.size());
  const absl::Status status = RunLockstep(
      run.weights, streams, LockstepOptionsOf(run), last, run.parallel);
  if (!status.ok()) return status;

  const std::vector<double>& o = baseline.reference.states[layer].stream;
  const std::vector<double>& p = baseline.run.states[layer].stream;
  const std::vector<double>& reference_layer = last.Of(0);
  const double norm = baseline.reference.state_norms[layer];
  const std::vector<double> total = Difference(p, o);
  const std::vector<double> inherited = Difference(reference_layer, o);
  const std::vector<double> local = Difference(p, reference_layer);
  split.total = SizeOf(total, norm, baseline.hidden_size);
  split.inherited = SizeOf(inherited, norm, baseline.hidden_size);
  split.local = SizeOf(local, norm, baseline.hidden_size);
  split.identity_ulps = IdentityUlps(total, inherited, local);
  const double entering = Norm2(
      Difference(h, EnteringStream(baseline.reference.states[layer - 1])));
  split.amplification = RatioOrZero(split.inherited.l2, entering);
  split.relative_amplification =
      RatioOrZero(split.inherited.rel_l2,
                  entering / baseline.reference.state_norms[layer - 1]);
  std::vector<const std::vector<double>*> outputs;
  for (const size_t s : stream_of_op) {
    outputs.push_back(s == 0 ? nullptr : &last.Of(s));
  }
  SplitByOps(outputs, reference_layer, local, norm, split);
  return split;
}

}  // namespace

absl::Status SplitLayers(const Run& run, const Baseline& baseline,
                         std::vector<LayerSplit>& splits) {
  const size_t num_layers = baseline.num_layers();
  constexpr absl::string_view kTask = "attribution: layers";
  for (size_t layer = 0; layer <= num_layers; ++layer) {
    const Subject subject = SubjectOfSplit(run, baseline, layer);
    const auto fits = [layer](const LayerSplit& kept) {
      return kept.layer == layer;
    };
    if (Recall(run.kept, subject, splits.emplace_back(), fits)) continue;
    splits.pop_back();
    if (!baseline.is_run()) return NotKept();
    run.monitor.OnProgress(kTask, layer - std::min<size_t>(layer, 1),
                           num_layers, absl::StrCat("layer ", layer));
    absl::StatusOr<LayerSplit> split = layer == 0
                                           ? SplitEmbedding(baseline)
                                           : SplitLayer(run, baseline, layer);
    if (absl::IsCancelled(split.status())) {
      return absl::CancelledError(
          absl::StrCat("the layers, after layer ", layer - 1));
    }
    if (!split.ok()) return split.status();
    Retain(run.kept, subject, *split);
    splits.push_back(*std::move(split));
  }
  run.monitor.OnProgress(kTask, num_layers, num_layers, "");
  return absl::OkStatus();
}

}  // namespace ulpscope
