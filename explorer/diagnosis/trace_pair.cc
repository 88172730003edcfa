#include "explorer/diagnosis/trace_pair.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/alignment.h"
#include "explorer/diagnosis/arithmetic.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/pair_difference.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/traced_values.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/lockstep/lockstep.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// One is nearer to the oracle if it is this many times as near, at this share
// of the states.
constexpr double kNearer = 2;
constexpr double kMostStates = 0.75;

bool Same(double x, double y) {
  return x == y || (std::isnan(x) && std::isnan(y));
}

// The runs that a pair is compared with.
enum PairStream : size_t { kFree, kFromA, kFromB, kNumStreams };

// What is summed up at a point.
struct PairSums {
  PairPoint counts;
  double a = 0, oracle = 0;  // squares of these, and of differences
  double a_b = 0, a_oracle = 0, b_oracle = 0;
  double a_replay = 0, b_replay = 0, replays = 0;
};

// Compares both traces with each other and with runs of the oracle, row by row.
class PairComparer : public LockstepObserver {
 public:
  PairComparer(const AlignedTrace& a, const AlignedTrace& b)
      : a_(a), b_(b), sums_(a.points().size()) {}

  bool Wants(Op /*op*/) const override { return true; }

  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override {
    const int at = a_.Find(layer, op);
    if (at < 0) return;
    const size_t point = static_cast<size_t>(at);
    // Scores come one position at a time, with all heads.
    const size_t blocks = IsScores(op) ? 1 : rows.rows;
    const size_t in_block = rows.rows / blocks;
    for (size_t i = 0; i < blocks; ++i) {
      const auto values = std::make_shared<std::vector<double>>();
      for (size_t r = 0; r < in_block; ++r) {
        const double* const row = rows.Row(i * in_block + r);
        values->insert(values->end(), row, row + rows.cols);
      }
      const std::pair<size_t, size_t> key(point, first_position + i);
      Block& block = pending_[key];
      block.cols = rows.cols;
      for (const size_t s : streams) block.values[s] = values;
      const auto& all = block.values;
      if (all[kFree] == nullptr || all[kFromA] == nullptr ||
          all[kFromB] == nullptr) {
        continue;
      }
      Compare(point, first_position + i, block);
      pending_.erase(key);
    }
  }

  const std::vector<PairSums>& sums() const { return sums_; }

 private:
  struct Block {
    std::shared_ptr<const std::vector<double>> values[kNumStreams];
    size_t cols = 0;
  };

  void Compare(size_t index, size_t position, const Block& block) {
    const TracedTensor& a = *a_.points()[index].tensor;
    const TracedTensor& b = *b_.points()[index].tensor;
    const Op op = a_.points()[index].op;
    if (!IsScores(op)) {
      const size_t row_a = position - a.first_position;
      const size_t row_b = position - b.first_position;
      if (position < a.first_position || position < b.first_position ||
          row_a >= a.rows.rows() || row_b >= b.rows.rows()) {
        return;
      }
      AddRow(a.rows.view().Row(row_a), b.rows.view().Row(row_b), block, 0,
             block.cols, sums_[index]);
      return;
    }
    // As a replay's comparison has it: before the softmax nothing behind the
    // position, after it zeros.
    const size_t positions = a.rows.view().cols;
    const size_t shown = op == Op::kQk ? position + 1 : positions;
    for (size_t h = 0; h * positions < a.rows.rows(); ++h) {
      const size_t row = h * positions + position;
      AddRow(a.rows.view().Row(row), b.rows.view().Row(row), block,
             h * block.cols, shown, sums_[index]);
    }
  }

  static void AddRow(const double* a, const double* b, const Block& block,
                     size_t first, size_t n, PairSums& sums) {
    const auto ours = [&](PairStream stream, size_t c) {
      return c < block.cols ? (*block.values[stream])[first + c] : 0;
    };
    PairPoint& counts = sums.counts;
    counts.elements += n;
    const auto add = [](double difference, double& sum) {
      sum += difference * difference;
    };
    for (size_t c = 0; c < n; ++c) {
      const bool same = Same(a[c], b[c]);
      if (same) ++counts.identical;
      const bool finite_a = std::isfinite(a[c]), finite_b = std::isfinite(b[c]);
      if (!finite_a) ++counts.nonfinite_a;
      if (!finite_b) ++counts.nonfinite_b;
      if (!same && !(finite_a && finite_b)) ++counts.nonfinite_differ;
      const double oracle = ours(kFree, c);
      const double from_a = ours(kFromA, c), from_b = ours(kFromB, c);
      if (!finite_a || !finite_b || !std::isfinite(oracle) ||
          !std::isfinite(from_a) || !std::isfinite(from_b)) {
        continue;
      }
      ++counts.compared;
      add(a[c], sums.a);
      add(oracle, sums.oracle);
      add(a[c] - b[c], sums.a_b);
      add(a[c] - oracle, sums.a_oracle);
      add(b[c] - oracle, sums.b_oracle);
      add(a[c] - from_a, sums.a_replay);
      add(b[c] - from_b, sums.b_replay);
      add(from_a - from_b, sums.replays);
    }
  }

  const AlignedTrace& a_;
  const AlignedTrace& b_;
  std::vector<PairSums> sums_;
  std::map<std::pair<size_t, size_t>, Block> pending_;  // [point, position]
};

// Whether they are of the same op over some of the same positions.
bool CanCompare(const Point& a, const Point& b) {
  const TracedTensor &x = *a.tensor, &y = *b.tensor;
  if (x.rows.view().cols != y.rows.view().cols) return false;
  if (IsScores(a.op)) return x.rows.rows() == y.rows.rows();
  return std::max(x.first_position, y.first_position) <
         std::min(x.first_position + x.rows.rows(),
                  y.first_position + y.rows.rows());
}

// A trace's points that the other has too, each in its place; no states.
ReferenceTrace SharedWith(const AlignedTrace& other, const ReferenceTrace& of,
                          const AlignedTrace& aligned) {
  ReferenceTrace shared;
  shared.path = of.path;
  shared.tokens = of.tokens;
  shared.has_tokens = of.has_tokens;
  for (const Point& point : aligned.points()) {
    const int at = other.Find(point.layer, point.op);
    if (at < 0 || !CanCompare(point, other.points()[static_cast<size_t>(at)])) {
      continue;
    }
    auto& tensors = IsScores(point.op) ? shared.scores : shared.outputs;
    tensors[{point.layer, point.op}] = *point.tensor;
  }
  return shared;
}

class Comparing {
 public:
  Comparing(const Run& run, const Checkpoint& checkpoint,
            const ReferenceTrace& a, const ReferenceTrace& b)
      : run_(run),
        a_{a},
        b_{b},
        tokens_(a.tokens),
        setting_{tokens_, run.memory, run.monitor,
                 [this](double share, absl::string_view what) {
                   ShowProgress(share, what);
                 },
                 run.parallel},
        sets_(run, checkpoint) {}

  absl::StatusOr<TracePair> Make(
      const std::function<void(const TracePair&)>& on_stage) {
    pair_.path_a = a_.trace.path;
    pair_.path_b = b_.trace.path;
    pair_.tokens = tokens_;
    pair_.num_layers = run_.weights.layers.size();
    pair_.not_measured_a = a_.trace.not_measured;
    pair_.not_measured_b = b_.trace.not_measured;
    const struct {
      absl::string_view name;
      absl::Status (Comparing::*step)();
    } steps[] = {{"the alignment", &Comparing::AlignBoth},
                 {"the arithmetics", &Comparing::FindArithmetics},
                 {"the comparison", &Comparing::Compare}};
    num_steps_ = std::size(steps);
    for (const auto& step : steps) {
      const absl::Status status = (this->*step.step)();
      if (absl::IsCancelled(status)) {
        pair_.stopped_in = std::string(step.name);
        return std::move(pair_);
      }
      if (!status.ok()) return status;
      share_ = 0;
      if (++steps_done_ == num_steps_ || !on_stage) continue;
      pair_.stopped_in = std::string(steps[steps_done_].name);
      on_stage(pair_);
      pair_.stopped_in.clear();
    }
    setting_.monitor.OnProgress("comparing traces", 1, 1, "");
    return std::move(pair_);
  }

 private:
  // One of the two.
  struct Side {
    const ReferenceTrace& trace;
    ReferenceTrace shared = {};
    std::optional<TracedValues> values = {};
    std::optional<AlignedTrace> aligned = {};  // of what is shared
    Fit fit = {};
  };

  void ShowProgress(double share, absl::string_view what) {
    constexpr size_t kStepParts = 100;
    share_ = std::max(share_, share);
    const double parts = static_cast<double>(kStepParts) * share_;
    const size_t total = num_steps_ * kStepParts;
    const size_t done = steps_done_ * kStepParts + static_cast<size_t>(parts);
    setting_.monitor.OnProgress("comparing traces", std::min(done, total - 1),
                                total, what);
  }

  absl::Status AlignBoth() {
    std::optional<AlignedTrace> aligned[2];
    std::optional<TracedValues> values[2];
    for (const bool is_b : {false, true}) {
      Side& side = is_b ? b_ : a_;
      auto looked =
          TracedValues::Of(side.trace, setting_.monitor, setting_.parallel);
      if (!looked.ok()) return looked.status();
      values[is_b].emplace(*std::move(looked));
      auto alignment = Align(setting_, run_.weights, *values[is_b]);
      if (!alignment.ok()) return alignment.status();
      aligned[is_b].emplace(*values[is_b], pair_.num_layers,
                            alignment->state_shift,
                            alignment->last_state_normed);
      (is_b ? pair_.alignment_b : pair_.alignment_a) = *std::move(alignment);
    }
    UseTokensOfBoth();
    a_.shared = SharedWith(*aligned[1], a_.trace, *aligned[0]);
    b_.shared = SharedWith(*aligned[0], b_.trace, *aligned[1]);
    pair_.only_in_a = aligned[0]->points().size() - a_.shared.outputs.size() -
                      a_.shared.scores.size();
    pair_.only_in_b = aligned[1]->points().size() - b_.shared.outputs.size() -
                      b_.shared.scores.size();
    for (Side* const side : {&a_, &b_}) {
      auto looked =
          TracedValues::Of(side->shared, setting_.monitor, setting_.parallel);
      if (!looked.ok()) return looked.status();
      side->values.emplace(*std::move(looked));
      side->aligned.emplace(*side->values, pair_.num_layers, 0, false);
    }
    return absl::OkStatus();
  }

  // Where both have the embedding of another token than the one that is said,
  // that one was run.
  void UseTokensOfBoth() {
    for (const auto& of_a : pair_.alignment_a.other_tokens) {
      for (const auto& of_b : pair_.alignment_b.other_tokens) {
        if (of_a.position == of_b.position && of_a.found == of_b.found &&
            of_a.found >= 0) {
          tokens_[of_a.position] = of_a.found;
        }
      }
    }
  }

  bool is_empty() const { return a_.aligned->points().empty(); }

  absl::Status FindArithmetics() {
    if (is_empty()) return absl::OkStatus();
    for (const bool is_b : {false, true}) {
      Side& side = is_b ? b_ : a_;
      auto found = FindArithmetic(setting_, sets_, *side.aligned, {});
      if (!found.ok()) return found.status();
      auto fit = Evaluate(setting_, sets_, *side.aligned, found->belief,
                          "replays of each trace");
      if (!fit.ok()) return fit.status();
      side.fit = *std::move(fit);
      Arithmetic& arithmetic = is_b ? pair_.arithmetic_b : pair_.arithmetic_a;
      arithmetic = found->arithmetic;
      for (const Point& point : side.aligned->points()) {
        if (point.tells_format()) ++arithmetic.points_that_tell;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Compare() {
    if (is_empty()) return absl::OkStatus();
    const Plan oracle = Plan::Oracle(pair_.num_layers);
    std::vector<Stream> streams(kNumStreams, Stream{oracle, tokens_});
    streams[kFromA].given = &*a_.aligned;
    streams[kFromB].given = &*b_.aligned;
    LockstepOptions options;
    options.stop = StopOf(setting_.monitor);
    options.logits = LogitsOf();
    options.progress = [this](size_t done, size_t total) {
      ShowProgress(static_cast<double>(done) / static_cast<double>(total),
                   "runs of the oracle");
    };
    PairComparer comparer(*a_.aligned, *b_.aligned);
    const absl::Status status = RunLockstep(run_.weights, streams, options,
                                            comparer, setting_.parallel);
    if (!status.ok()) return status;
    for (size_t i = 0; i < comparer.sums().size(); ++i) {
      AddPoint(i, comparer.sums()[i]);
    }
    pair_.nearer_to_oracle = NearerToOracle();
    const auto described =
        pair_.first_added ? pair_.first_added : pair_.first_different;
    if (described.has_value()) {
      const PairPoint& point = pair_.points[*described];
      pair_.difference =
          DescribeDifference(*a_.aligned->points()[*described].tensor,
                             *b_.aligned->points()[*described].tensor, point.op,
                             static_cast<size_t>(run_.weights.config.head_dim));
      pair_.difference->point = *described;
    }
    return absl::OkStatus();
  }

  // Those of the positions that both have.
  Logits LogitsOf() const {
    const int at = a_.aligned->Find(0, Op::kLmHead);
    if (at < 0) return Logits::kNone;
    const size_t i = static_cast<size_t>(at);
    const size_t first =
        std::max(a_.aligned->points()[i].tensor->first_position,
                 b_.aligned->points()[i].tensor->first_position);
    return first + 1 == tokens_.size() ? Logits::kLast : Logits::kAll;
  }

  void AddPoint(size_t i, const PairSums& sums) {
    const Point& of_a = a_.aligned->points()[i];
    const Point& of_b = b_.aligned->points()[i];
    PairPoint point = sums.counts;
    point.layer = of_a.layer;
    point.op = of_a.op;
    point.name_a = of_a.tensor->name;
    point.name_b = of_b.tensor->name;
    point.stored_a = of_a.tensor->stored_as;
    point.stored_b = of_b.tensor->stored_as;
    const auto relative = [&](double squares, double by) {
      return point.compared == 0
                 ? std::nullopt
                 : std::optional<double>(std::sqrt(RatioOrZero(squares, by)));
    };
    point.distance = relative(sums.a_b, sums.a);
    point.added_a = relative(sums.a_replay, sums.a);
    point.added_b = relative(sums.b_replay, sums.a);
    point.inherited = relative(sums.replays, sums.a);
    point.excess_a = a_.fit.points[i].excess;
    point.excess_b = b_.fit.points[i].excess;
    point.origin = OriginOf(i, point, sums);
    const auto first = [i](bool is, std::optional<size_t>& index) {
      if (is && !index.has_value()) index = i;
    };
    first(point.origin != PairOrigin::kSame, pair_.first_different);
    first(point.is_added(), pair_.first_added);
    first(point.nonfinite_a > 0, pair_.first_nonfinite_a);
    first(point.nonfinite_b > 0, pair_.first_nonfinite_b);
    if (point.op == Op::kEmbed || point.op == Op::kMlpResidual ||
        point.op == Op::kFinalNorm) {
      PairState state;
      state.normed = point.op == Op::kFinalNorm;
      state.layer = state.normed ? pair_.num_layers : point.layer;
      state.compared = point.compared;
      state.elements = point.elements;
      state.a_to_oracle = relative(sums.a_oracle, sums.oracle);
      state.b_to_oracle = relative(sums.b_oracle, sums.oracle);
      state.a_to_b = relative(sums.a_b, sums.oracle);
      pair_.states.push_back(state);
    }
    pair_.points.push_back(std::move(point));
  }

  PairOrigin OriginOf(size_t i, const PairPoint& point,
                      const PairSums& sums) const {
    if (point.identical == point.elements) return PairOrigin::kSame;
    const PointFit& a = a_.fit.points[i];
    const PointFit& b = b_.fit.points[i];
    if (!a.judged || !b.judged) return PairOrigin::kNotJudged;
    if (!a.explained && !b.explained) return PairOrigin::kAddedByBoth;
    if (!a.explained) return PairOrigin::kAddedByA;
    if (!b.explained) return PairOrigin::kAddedByB;
    return sums.replays > sums.a_replay + sums.b_replay ? PairOrigin::kInherited
                                                        : PairOrigin::kRounding;
  }

  // The embedding is no run's work.
  int NearerToOracle() const {
    size_t a = 0, b = 0, all = 0;
    for (const PairState& state : pair_.states) {
      if (state.layer == 0 || !state.a_to_oracle || !state.b_to_oracle)
        continue;
      ++all;
      if (*state.a_to_oracle == *state.b_to_oracle) continue;
      if (*state.a_to_oracle * kNearer <= *state.b_to_oracle) ++a;
      if (*state.b_to_oracle * kNearer <= *state.a_to_oracle) ++b;
    }
    const auto most = [all](size_t count) {
      return all > 0 && static_cast<double>(count) >=
                            kMostStates * static_cast<double>(all);
    };
    return most(a) ? 1 : most(b) ? -1 : 0;
  }

  const Run run_;
  Side a_, b_;
  std::vector<int32_t> tokens_;  // that were run
  const ReplaySetting setting_;
  WeightSets sets_;
  TracePair pair_;
  size_t num_steps_ = 0;
  size_t steps_done_ = 0;
  double share_ = 0;  // of the step's runs
};

absl::Status CheckTokens(const ReferenceTrace& a, const ReferenceTrace& b) {
  if (a.tokens.empty() || a.empty() || b.empty()) {
    return absl::InvalidArgumentError("a trace without tokens or tensors");
  }
  const size_t both = std::min(a.tokens.size(), b.tokens.size());
  for (size_t i = 0; i < both; ++i) {
    if (a.tokens[i] == b.tokens[i]) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(b.path, ": position ", i, ": expected token ", a.tokens[i],
                     ", as ", a.path, " has, found ", b.tokens[i]));
  }
  if (a.tokens.size() == b.tokens.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(b.path, ": expected ", a.tokens.size(), " tokens, as ",
                   a.path, " has, found ", b.tokens.size()));
}

}  // namespace

absl::StatusOr<TracePair> ComparePair(
    const Run& run, const Checkpoint& checkpoint, const ReferenceTrace& a,
    const ReferenceTrace& b,
    const std::function<void(const TracePair&)>& on_stage) {
  const absl::Status status = CheckTokens(a, b);
  if (!status.ok()) return status;
  return Comparing(run, checkpoint, a, b).Make(on_stage);
}

}  // namespace ulpscope
