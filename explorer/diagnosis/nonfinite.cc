#include "explorer/diagnosis/nonfinite.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"
#include "explorer/diagnosis/kept_replays.h"
#include "explorer/diagnosis/origin.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/format.h"
#include "kernels/base/matrix.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// Of values that are kept of runs, whatever memory there is.
constexpr size_t kMostBytes = size_t{256} << 20;

bool IsNorm(Op op) {
  return op == Op::kInputNorm || op == Op::kQNorm || op == Op::kKNorm ||
         op == Op::kPostNorm || op == Op::kFinalNorm;
}

size_t HeadsOf(Op op, const ModelConfig& config) {
  switch (op) {
    case Op::kQProj:
    case Op::kQNorm:
    case Op::kAv:
      return static_cast<size_t>(config.num_attention_heads);
    case Op::kKProj:
    case Op::kVProj:
    case Op::kKNorm:
    case Op::kKvK:
    case Op::kKvV:
      return static_cast<size_t>(config.num_key_value_heads);
    default:
      return 0;
  }
}

// A matrix of an op's values: rows are positions, of scores heads times
// positions.
struct OpValues {
  size_t first_position = 0, positions = 0, score_heads = 0, cols = 0;
  std::vector<double> values;

  bool empty() const { return values.empty(); }
};

// Where values of an op are not finite.
void Locate(const OpValues& v, size_t heads, FirstNonFinite& found) {
  if (v.cols == 0) return;
  std::vector<bool> at(v.positions), channels(v.cols);
  std::vector<bool> of_heads(v.score_heads > 0 ? v.score_heads : heads);
  for (size_t i = 0; i < v.values.size(); ++i) {
    const double x = v.values[i];
    const size_t row = i / v.cols, channel = i % v.cols;
    if (std::isfinite(x)) continue;
    ++found.elements;
    if (std::isnan(x)) ++found.nan;
    at[row % v.positions] = true;
    channels[channel] = true;
    if (v.score_heads > 0) {
      of_heads[row / v.positions] = true;
    } else if (heads > 0) {
      of_heads[channel / (v.cols / heads)] = true;
    }
  }
  found.of = v.values.size();
  found.positions = RangesOf(at, v.first_position);
  found.channels = RangesOf(channels);
  found.heads = RangesOf(of_heads);
}

OpValues ValuesOf(const TracedTensor& tensor, Op op) {
  const Matrix<double> rows = tensor.rows.view();
  OpValues v;
  v.first_position = tensor.first_position;
  v.cols = rows.cols;
  if (IsScores(op)) v.score_heads = rows.rows / rows.cols;
  v.positions = IsScores(op) ? rows.cols : rows.rows;
  for (size_t r = 0; r < rows.rows; ++r) {
    v.values.insert(v.values.end(), rows.Row(r), rows.Row(r) + rows.cols);
  }
  return v;
}

// Of a run, the positions of a span that it computed; scores behind their
// position are 0.
OpValues ValuesOf(const KeptReplays& kept, size_t run,
                  const KeptReplays::What& what, const ModelConfig& config) {
  OpValues v;
  v.first_position = what.first_position;
  std::vector<const KeptReplays::Values*> rows;
  for (size_t p = 0; p < what.positions; ++p) {
    const auto* row = kept.Get(run, what.cell, what.first_position + p);
    if (row == nullptr) break;
    rows.push_back(row);
  }
  v.positions = rows.size();
  if (rows.empty()) return v;
  if (!IsScores(what.cell.op)) {
    v.cols = rows.front()->size();
    for (const auto* row : rows) {
      v.values.insert(v.values.end(), row->begin(), row->end());
    }
    return v;
  }
  v.score_heads = static_cast<size_t>(config.num_attention_heads);
  v.cols = what.first_position + rows.size();
  for (size_t h = 0; h < v.score_heads; ++h) {
    for (const auto* row : rows) {
      const size_t cols = row->size() / v.score_heads;
      for (size_t c = 0; c < v.cols; ++c) {
        v.values.push_back(c < cols ? (*row)[h * cols + c] : 0);
      }
    }
  }
  return v;
}

// Those of a matrix of scores up to so many columns, so that two of them have
// the same shape.
void KeepColumns(size_t cols, OpValues& v) {
  if (v.cols <= cols) return;
  std::vector<double> kept;
  for (size_t i = 0; i < v.values.size(); ++i) {
    if (i % v.cols < cols) kept.push_back(v.values[i]);
  }
  v.values = std::move(kept);
  v.cols = cols;
}

// The rows of a span of positions.
OpValues Span(const OpValues& v, size_t first_position, size_t positions) {
  OpValues span = v;
  span.values.clear();
  span.first_position = first_position;
  span.positions = positions;
  const size_t heads = std::max<size_t>(1, v.score_heads);
  for (size_t h = 0; h < heads; ++h) {
    const size_t row = h * v.positions + first_position - v.first_position;
    const auto from = v.values.begin() + static_cast<ptrdiff_t>(row * v.cols);
    span.values.insert(span.values.end(), from,
                       from + static_cast<ptrdiff_t>(positions * v.cols));
  }
  return span;
}

// The largest magnitude of `x` where `of` is not finite; NaN counts as nothing.
std::optional<double> LargestWhere(const std::vector<double>& x,
                                   const std::vector<double>& of) {
  std::optional<double> largest;
  for (size_t i = 0; i < std::min(x.size(), of.size()); ++i) {
    if (std::isfinite(of[i]) || std::isnan(x[i])) continue;
    largest = std::max(largest.value_or(0), std::fabs(x[i]));
  }
  return largest;
}

// A row of the scores before the softmax, up to its position.
bool HasInfinity(const NonFiniteEvidence& e, size_t row) {
  const ComparedValues& v = e.values;
  for (size_t c = 0; c < v.cols; ++c) {
    if (std::isinf(e.scores[v.At(row, c)])) return true;
  }
  return false;
}

NonFiniteReason ReasonOfSoftmax(const NonFiniteEvidence& e) {
  const ComparedValues& v = e.values;
  bool whole = true, finite = true;
  for (size_t r = 0; r < v.rows; ++r) {
    size_t nan = 0;
    for (size_t c = 0; c < v.cols; ++c) {
      if (std::isnan(v.theirs[v.At(r, c)])) ++nan;
    }
    if (nan == 0) continue;
    whole = whole && nan == v.cols;
    if (e.scores.size() != v.theirs.size()) continue;
    if (HasInfinity(e, r)) return NonFiniteReason::kInfMinusInf;
    for (size_t c = 0; c < v.cols; ++c) {
      finite = finite && std::isfinite(e.scores[v.At(r, c)]);
    }
  }
  return whole && finite ? NonFiniteReason::kSeesNothing
                         : NonFiniteReason::kUnknown;
}

// Of the rows that are not finite, the largest mean of squares of what a norm
// is of; and whether one of them is 0 / 0.
NonFiniteCause CauseOfNorm(const NonFiniteEvidence& e) {
  const ComparedValues& v = e.values;
  NonFiniteCause cause;
  if (e.input.size() != v.theirs.size()) return cause;
  double largest = 0;
  for (size_t r = 0; r < v.rows; ++r) {
    bool finite = true;
    double squares = 0;
    for (size_t c = 0; c < v.cols; ++c) {
      finite = finite && std::isfinite(v.theirs[v.At(r, c)]);
      squares += e.input[v.At(r, c)] * e.input[v.At(r, c)];
    }
    if (finite) continue;
    if (squares == 0 && e.eps == 0) {
      cause.reason = NonFiniteReason::kZeroByZero;
      return cause;
    }
    largest = std::max(largest, squares);
  }
  if (largest > LargestOf(e.format)) {
    cause = {NonFiniteReason::kIntermediate, largest};
  }
  return cause;
}

// What a run of some arithmetic makes of a place, and the oracle beside it.
class Emulation {
 public:
  Emulation(const ReplaySetting& setting, const Weights& weights,
            const AlignedTrace* trace, const Plan& plan, const Variant& variant)
      : setting_(setting), weights_(weights), trace_(trace) {
    exact_ = {Plan::Oracle(weights.layers.size()), variant, trace};
    exact_.variant.rope_angles_f32 = false;
    own_ = {plan, variant, trace};
  }

  // Of the ops that are asked for, the first that is not finite.
  absl::StatusOr<std::optional<Cell>> First(
      std::function<bool(const Cell&)> asked) const {
    FirstOutputNotFinite first(std::move(asked));
    const absl::Status status =
        ObserveCandidates(setting_, weights_, {own_}, Logits::kAll,
                          "values that are not finite", first);
    if (!status.ok()) return status;
    return first.found();
  }

  // Looks at an op. `theirs`, unless null, is what is not finite, else the
  // run's own values are.
  absl::StatusOr<NonFiniteEvidence> LookAt(const Cell& cell,
                                           const OpValues* theirs) {
    const ModelConfig& config = weights_.config;
    const size_t tokens = setting_.tokens.size();
    std::vector<Cell> cells = {cell};
    if (cell.op == Op::kSoftmax) cells.push_back({cell.layer, Op::kQk});
    if (IsNorm(cell.op)) cells.push_back(InputsOf(cell, config).front());
    const size_t widest = static_cast<size_t>(
        std::max({config.vocab_size, config.intermediate_size,
                  config.num_attention_heads * static_cast<int64_t>(tokens)}));
    const size_t most =
        std::max<size_t>(1, kMostBytes / (4 * widest * sizeof(double)));
    std::vector<KeptReplays::What> what;
    for (const Cell& one : cells) {
      KeptReplays::What w;
      w.cell = one;
      if (theirs != nullptr) w.first_position = theirs->first_position;
      w.positions =
          std::min(most, theirs != nullptr ? theirs->positions : tokens);
      what.push_back(w);
    }
    KeptReplays kept(what, 2);
    const absl::Status status =
        ObserveCandidates(setting_, weights_, {exact_, own_}, Logits::kAll,
                          "values that are not finite", kept);
    if (!status.ok()) return status;
    OpValues exact = ValuesOf(kept, 0, what[0], config);
    own_values_ = ValuesOf(kept, 1, what[0], config);
    OpValues of = theirs == nullptr
                      ? own_values_
                      : Span(*theirs, exact.first_position, exact.positions);
    KeepColumns(exact.cols, of);
    NonFiniteEvidence evidence;
    evidence.op = cell.op;
    evidence.head_dim = static_cast<size_t>(config.head_dim);
    evidence.eps = own_.variant.norm_eps >= 0 ? own_.variant.norm_eps
                                              : config.rms_norm_eps;
    if (cell.op != Op::kEmbed) {
      evidence.format = own_.plan.Get(cell.layer, cell.op).info().result;
    }
    evidence.values.rows =
        exact.positions * std::max<size_t>(1, exact.score_heads);
    evidence.values.cols = exact.cols;
    evidence.values.exact = exact.values;
    evidence.values.theirs = of.values;
    if (what.size() > 1) {
      // Scores of T that were kept say more than the run's.
      const int traced =
          trace_ == nullptr ? -1
                            : trace_->Find(what[1].cell.layer, what[1].cell.op);
      OpValues before =
          ValuesOf(kept, theirs == nullptr ? 1 : 0, what[1], config);
      if (traced >= 0) {
        const Point& point = trace_->points()[static_cast<size_t>(traced)];
        const OpValues all = ValuesOf(*point.tensor, point.op);
        if (all.first_position <= exact.first_position) {
          before = Span(all, exact.first_position, exact.positions);
        }
      }
      KeepColumns(exact.cols, before);
      (IsNorm(cell.op) ? evidence.input : evidence.scores) =
          std::move(before.values);
    }
    return evidence;
  }

  // Of the op that was looked at.
  const OpValues& own_values() const { return own_values_; }

 private:
  const ReplaySetting& setting_;
  const Weights& weights_;
  const AlignedTrace* trace_;
  Candidate exact_, own_;
  OpValues own_values_;
};

void SetCause(const NonFiniteEvidence& evidence, FirstNonFinite& found) {
  const NonFiniteCause cause = CauseOf(evidence);
  found.reason = cause.reason;
  found.magnitude = cause.magnitude;
  found.format = evidence.format;
  found.largest = LargestOf(evidence.format);
}

std::optional<Format> StoredFormat(const TracedTensor& tensor) {
  if (absl::StrContains(tensor.stored_as, "BF16")) return Format::kBF16;
  if (absl::StrContains(tensor.stored_as, "F16")) return Format::kF16;
  return std::nullopt;
}

}  // namespace

double LargestOf(Format format) {
  switch (format) {
    case Format::kF16:
      return 65504;
    case Format::kBF16:
      return 0x1.FEp127;
    case Format::kF32:
      return std::numeric_limits<float>::max();
    case Format::kF64:
      break;
  }
  return std::numeric_limits<double>::max();
}

NonFiniteCause CauseOf(const NonFiniteEvidence& e) {
  const double limit = LargestOf(e.format);
  const std::optional<double> magnitude =
      LargestWhere(e.values.exact, e.values.theirs);
  if (magnitude.has_value() && *magnitude > limit) {
    return {NonFiniteReason::kOverflow, magnitude};
  }
  if (e.op == Op::kSoftmax) return {ReasonOfSoftmax(e), std::nullopt};
  if (e.op == Op::kQk && magnitude.has_value()) {
    // Products of queries and keys, before they are scaled.
    const double unscaled =
        *magnitude * std::sqrt(static_cast<double>(e.head_dim));
    if (unscaled > limit) return {NonFiniteReason::kIntermediate, unscaled};
  }
  if (IsNorm(e.op)) {
    const NonFiniteCause cause = CauseOfNorm(e);
    if (cause.reason != NonFiniteReason::kUnknown) return cause;
  }
  return {NonFiniteReason::kUnknown, magnitude};
}

absl::StatusOr<std::optional<FirstNonFinite>> FirstNonFiniteOf(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& trace, const Belief& belief) {
  const auto first =
      std::find_if(trace.points().begin(), trace.points().end(),
                   [](const Point& point) { return point.nonfinite > 0; });
  if (first == trace.points().end()) return std::nullopt;
  const auto set = weights.Get(belief.weights());
  if (!set.ok()) return set.status();
  const ModelConfig& config = (*set)->config;
  const Cell cell = {first->layer, first->op};
  FirstNonFinite found;
  found.origin = OriginOf(cell, trace, config);
  const OpValues theirs = ValuesOf(*first->tensor, first->op);
  Locate(theirs, HeadsOf(first->op, config), found);
  std::vector<Belief> beliefs = {belief};
  const std::optional<Format> stored = StoredFormat(*first->tensor);
  if (stored.has_value()) {
    beliefs.push_back(
        BeliefInPlan(*stored == Format::kF16 ? "torch-f16" : "torch-bf16",
                     belief.plan.num_layers()));
  }
  for (const Belief& tried : beliefs) {
    Emulation emulation(setting, **set, &trace, tried.plan, tried.variant());
    const auto emulated = emulation.First(
        [&found](const Cell& c) { return IsWithin(c, found.origin); });
    if (!emulated.ok()) return emulated.status();
    if (!emulated->has_value()) continue;
    const Cell& at = **emulated;
    const bool same = at.layer == cell.layer && at.op == cell.op;
    const auto evidence = emulation.LookAt(at, same ? &theirs : nullptr);
    if (!evidence.ok()) return evidence.status();
    found.emulated = true;
    found.emulated_layer = at.layer;
    found.emulated_op = at.op;
    SetCause(*evidence, found);
    return found;
  }
  // No arithmetic makes them: what is known is how large the numbers are.
  Emulation emulation(setting, **set, &trace, belief.plan, belief.variant());
  auto evidence = emulation.LookAt(cell, &theirs);
  if (!evidence.ok()) return evidence.status();
  if (stored.has_value()) evidence->format = *stored;
  SetCause(*evidence, found);
  return found;
}

absl::StatusOr<std::optional<FirstNonFinite>> FirstNonFiniteOf(
    const ReplaySetting& setting, WeightSets& weights, const Plan& plan) {
  const Weights& own = weights.original();
  Emulation emulation(setting, own, nullptr, plan, {});
  const auto cell = emulation.First(nullptr);
  if (!cell.ok()) return cell.status();
  if (!cell->has_value()) return std::nullopt;
  const auto evidence = emulation.LookAt(**cell, nullptr);
  if (!evidence.ok()) return evidence.status();
  FirstNonFinite found;
  found.origin.layer = (*cell)->layer;
  found.origin.op = (*cell)->op;
  found.origin.first_layer = found.origin.last_layer =
      OrderOf(**cell, plan.num_layers()).first;
  found.emulated = true;
  found.emulated_layer = (*cell)->layer;
  found.emulated_op = (*cell)->op;
  Locate(emulation.own_values(), HeadsOf((*cell)->op, own.config), found);
  SetCause(*evidence, found);
  return found;
}

FiniteValues CountFinite(const AlignedTrace& trace) {
  FiniteValues count;
  for (const Point& point : trace.points()) {
    const Matrix<double> rows = point.tensor->rows.view();
    const size_t values = rows.rows * rows.cols;
    count.values += values;
    count.finite += values - point.nonfinite;
    if (point.judged) count.judged += values - point.nonfinite;
  }
  return count;
}

}  // namespace ulpscope
