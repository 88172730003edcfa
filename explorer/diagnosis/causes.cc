#include "explorer/diagnosis/causes.h"

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/search.h"
#include "explorer/diagnosis/traced_values.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// A cause concerns the points whose distance it changes by this.
constexpr double kConcerns = 0.5;  // log2

// Of a distance that is infinite all is removed by what makes it finite.
std::optional<double> Removed(std::optional<double> without,
                              std::optional<double> with) {
  if (!without.has_value() || !with.has_value() || !std::isfinite(*with)) {
    return std::nullopt;
  }
  return *without == 0 ? 0 : 1 - (*with / *without) * (*with / *without);
}

// A mistake that the prompt does not show in the end (another theta, of a few
// positions) is one still if it shows beyond rounding where it is made, and the
// run is another one without it.
constexpr double kMostRemoved = 0.5;
bool IsProven(const DiagnosedCause& cause) {
  return cause.shows_inside && cause.replay_without > 1 &&
         cause.removed > kMostRemoved;
}

class Confirming {
 public:
  Confirming(const ReplaySetting& setting, WeightSets& weights,
             const AlignedTrace& trace, const SearchResult& search)
      : setting_(setting), weights_(weights), trace_(trace), search_(search) {}

  absl::StatusOr<DiagnosedCause> Confirm(const Hypothesis& hypothesis) {
    DiagnosedCause cause;
    cause.id = hypothesis.id;
    cause.kind = hypothesis.kind;
    cause.is_another_form = hypothesis.kind == CauseKind::kComparison;
    cause.what = hypothesis.what;
    cause.advice = hypothesis.advice;
    const auto same = search_.same_as.find(hypothesis.id);
    if (same != search_.same_as.end()) cause.same_as = same->second;
    const Belief without = Without(hypothesis.id);
    absl::Status status = Replays(hypothesis, without, cause);
    if (status.ok()) status = Runs(without, cause);
    if (!status.ok()) return status;
    return cause;
  }

 private:
  Belief Without(const std::string& id) const {
    Belief belief = ArithmeticOf(search_.belief);
    for (const Hypothesis& h : search_.belief.accepted) {
      if (h.id != id) belief = With(belief, {h});
    }
    return belief;
  }

  absl::Status Replays(const Hypothesis& hypothesis, const Belief& without,
                       DiagnosedCause& cause) {
    bool begun = false;
    const auto fit =
        Evaluate(setting_, weights_, trace_, without, "confirming a cause");
    if (!fit.ok()) return fit.status();
    double squares_without = 0, squares_with = 0;
    double identical_without = 0, identical_with = 0, elements = 0;
    for (size_t i = 0; i < trace_.points().size(); ++i) {
      const Point& point = trace_.points()[i];
      const Residual& r = fit->residuals[i];
      const Residual& with = search_.after.residuals[i];
      if (std::fabs(Log2Distance(trace_, i, r) -
                    Log2Distance(trace_, i, with)) < kConcerns) {
        continue;
      }
      const bool begins = !begun && point.op >= hypothesis.begins_at;
      if (cause.points++ == 0 || begins) {
        cause.first_layer = point.layer;
        cause.first_op = point.op;
      }
      begun = begun || begins;
      cause.shows_inside = cause.shows_inside || point.has_inputs;
      const double a = fit->points[i].excess;
      const double b = search_.after.points[i].excess;
      squares_without += a * a;
      squares_with += b * b;
      identical_without += static_cast<double>(r.identical);
      identical_with += static_cast<double>(with.identical);
      elements += static_cast<double>(with.elements);
    }
    if (cause.points == 0) return absl::OkStatus();
    const double points = static_cast<double>(cause.points);
    cause.replay_without = std::sqrt(squares_without / points);
    cause.replay_with = std::sqrt(squares_with / points);
    if (elements > 0) {
      cause.identical_without = identical_without / elements;
      cause.identical_with = identical_with / elements;
    }
    return absl::OkStatus();
  }

  // The last point: all causes have had their effect there. What is not finite
  // in the trace says nothing, nor what a belief does not compute.
  absl::Status Runs(const Belief& without, DiagnosedCause& cause) {
    size_t last = trace_.points().size() - 1;
    while (last > 0 && trace_.points()[last].nonfinite > 0) --last;
    if (trace_.points()[last].nonfinite > 0) return absl::OkStatus();
    const auto distance = [&](const Belief& belief,
                              std::optional<double>& to) -> absl::Status {
      const auto set = weights_.Get(belief.weights());
      if (!set.ok()) return set.status();
      const auto residuals = MeasureCandidates(
          setting_, **set, trace_, {{belief.plan, belief.variant(), nullptr}},
          "confirming a cause by a run");
      if (!residuals.ok()) return residuals.status();
      to = RelativeDistance(trace_.points()[last], residuals->front()[last]);
      return absl::OkStatus();
    };
    absl::Status status = distance(without, cause.run_without);
    if (status.ok()) status = distance(search_.belief, cause.run_with);
    if (cause.run_without == 0.0 && cause.run_with == 0.0) {
      // The cause has no effect as far as the trace is finite: no run tells.
      cause.run_without = cause.run_with = std::nullopt;
      return status;
    }
    cause.removed = Removed(cause.run_without, cause.run_with);
    return status;
  }

  const ReplaySetting& setting_;
  WeightSets& weights_;
  const AlignedTrace& trace_;
  const SearchResult& search_;
};

// What is compared that is not the same.
class Comparisons {
 public:
  Comparisons(const ReplaySetting& setting, WeightSets& weights,
              const TracedValues& values, const AlignedTrace& aligned,
              const Belief& belief, const Alignment& alignment)
      : setting_(setting),
        weights_(weights),
        values_(values),
        trace_(values.trace()),
        aligned_(aligned),
        belief_(belief),
        alignment_(alignment),
        num_layers_(weights.original().layers.size()) {}

  absl::StatusOr<std::vector<DiagnosedCause>> Find() {
    AddTokens();
    AddStatesAre();
    absl::Status status = AddShift();
    if (status.ok()) status = AddLastState();
    if (!status.ok()) return status;
    return std::move(causes_);
  }

 private:
  static DiagnosedCause NewCause(const char* id) {
    DiagnosedCause cause;
    cause.id = id;
    cause.kind = CauseKind::kComparison;
    return cause;
  }

  void AddTokens() {
    if (alignment_.other_tokens.empty()) return;
    const Alignment::OtherToken& first = alignment_.other_tokens.front();
    // An embedding that is no token's is for the replay to find.
    if (first.found < 0) return;
    DiagnosedCause cause = NewCause("other_tokens");
    cause.what = absl::StrFormat(
        "position %d of the trace has the embedding of token %d, not of %d",
        first.position, first.found, first.token);
    cause.advice = "run the tokens of the trace";
    cause.points = alignment_.other_tokens.size();
    causes_.push_back(std::move(cause));
  }

  void AddStatesAre() {
    if (alignment_.states_are == StatesAre::kStream) return;
    const bool output = alignment_.states_are == StatesAre::kMlpOutput;
    DiagnosedCause cause =
        NewCause(output ? "states_are_mlp_output" : "states_are_residual");
    cause.what = absl::StrCat(
        "a layer's state in the trace is ",
        output ? "the MLP's output alone, before it is added to the stream"
               : "the stream before the MLP's output is added to it");
    cause.advice =
        "add the two parts that the layer returns, (hidden_states, residual), "
        "when its output is written";
    cause.first_layer = 1;
    cause.first_op = AlignedTrace::OpOf(alignment_.states_are);
    cause.replay_without = alignment_.as_stream;
    cause.replay_with = alignment_.as_they_are;
    for (const Point& point : aligned_.points()) {
      if (point.op == cause.first_op) ++cause.points;
    }
    causes_.push_back(std::move(cause));
  }

  absl::Status AddShift() {
    const int shift = alignment_.state_shift;
    if (shift == 0) return absl::OkStatus();
    DiagnosedCause cause = NewCause("index_off_by_one");
    cause.what =
        absl::StrFormat("hidden_states[n] is the state after layer n %c %d",
                        shift > 0 ? '+' : '-', std::abs(shift));
    cause.advice =
        "index 0 is the embedding, index n the state after layer n: rename "
        "them";
    for (const Alignment::Shift& tried : alignment_.shifts) {
      if (tried.shift == 0) cause.replay_without = tried.mismatch;
      if (tried.shift == shift) {
        cause.replay_with = tried.mismatch;
        cause.points = tried.layers;
      }
    }
    // As the list has them, none of which is taken for normed.
    const AlignedTrace as_listed(values_, num_layers_, 0, false);
    return Runs(
        as_listed, [](const Point&) { return true; }, cause);
  }

  // If the trace has the true state as well, nothing is compared wrongly.
  absl::Status AddLastState() {
    if (!alignment_.last_state_normed ||
        trace_.outputs.count({num_layers_, Op::kMlpResidual}) > 0) {
      return absl::OkStatus();
    }
    DiagnosedCause cause = NewCause("last_state_normed");
    cause.what = absl::StrFormat(
        "hidden_states[%d] is the state after the final norm, not after layer "
        "%d",
        alignment_.last_state->index, num_layers_);
    cause.advice =
        "compare it with yours after the final norm, or dump the output of the "
        "last layer itself (output_hidden_states=True of transformers returns "
        "the normed one)";
    cause.first_op = Op::kFinalNorm;
    cause.replay_without = alignment_.last_state->raw;
    cause.replay_with = alignment_.last_state->normed;
    cause.points = 1;
    const AlignedTrace as_listed(values_, num_layers_, alignment_.state_shift,
                                 false, false, alignment_.states_are);
    const TracedTensor* const last =
        &trace_.states.at(alignment_.last_state->index);
    return Runs(
        as_listed, [last](const Point& point) { return point.tensor == last; },
        cause);
  }

  // Distances of the trace's states from a run of its arithmetic.
  absl::Status Runs(const AlignedTrace& as_listed,
                    absl::FunctionRef<bool(const Point&)> concerns,
                    DiagnosedCause& cause) {
    const auto without = RunDistance(as_listed, concerns);
    if (!without.ok()) return without.status();
    const auto with = RunDistance(aligned_, concerns);
    if (!with.ok()) return with.status();
    cause.run_without = *without;
    cause.run_with = *with;
    cause.removed = Removed(*without, *with);
    causes_.push_back(std::move(cause));
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<double>> RunDistance(
      const AlignedTrace& compared,
      absl::FunctionRef<bool(const Point&)> concerns) {
    const auto set = weights_.Get(belief_.weights());
    if (!set.ok()) return set.status();
    const auto residuals = MeasureCandidates(
        setting_, **set, compared, {{belief_.plan, belief_.variant(), nullptr}},
        "confirming a comparison");
    if (!residuals.ok()) return residuals.status();
    double sum = 0, points = 0;
    for (size_t i = 0; i < compared.points().size(); ++i) {
      const Point& point = compared.points()[i];
      const bool is_state = point.op == Op::kEmbed ||
                            point.op == Op::kMlpResidual ||
                            point.op == Op::kFinalNorm;
      if (!is_state || point.squares == 0 || point.nonfinite > 0 ||
          !concerns(point)) {
        continue;
      }
      const Residual& r = residuals->front()[i];
      if (r.elements == 0) continue;
      sum += r.nonfinite > 0 ? std::numeric_limits<double>::infinity()
                             : r.all.squares / point.squares;
      ++points;
    }
    if (points == 0) return std::nullopt;
    return std::sqrt(sum / points);
  }

  const ReplaySetting& setting_;
  WeightSets& weights_;
  const TracedValues& values_;
  const ReferenceTrace& trace_;
  const AlignedTrace& aligned_;
  const Belief& belief_;
  const Alignment& alignment_;
  const size_t num_layers_;
  std::vector<DiagnosedCause> causes_;
};

}  // namespace

Confirmation ConfirmationOf(const DiagnosedCause& c) {
  Confirmation of;
  if (c.points > 0 && c.replay_without > 0) {
    const bool confirms =
        c.replay_with < c.replay_without &&
        (c.identical_with.has_value() ? c.identical_with > c.identical_without
                                      : c.replay_without > 1);
    (confirms ? of.by : of.not_by).push_back("replay");
  }
  const bool same_results =
      c.kind == CauseKind::kEquivalent || c.is_another_form;
  if (!same_results && c.run_without > 0 && c.run_with.has_value()) {
    (c.run_with < c.run_without ? of.by : of.not_by).push_back("run");
  }
  return of;
}

absl::StatusOr<std::vector<DiagnosedCause>> ComparisonsOf(
    const ReplaySetting& setting, WeightSets& weights,
    const TracedValues& trace, const AlignedTrace& aligned,
    const Belief& belief, const Alignment& alignment) {
  return Comparisons(setting, weights, trace, aligned, belief, alignment)
      .Find();
}

absl::StatusOr<std::vector<DiagnosedCause>> ConfirmCauses(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& aligned, bool without_effect, SearchResult& search) {
  for (;;) {
    std::vector<DiagnosedCause> causes;
    std::optional<size_t> not_confirmed;
    const std::vector<Hypothesis>& accepted = search.belief.accepted;
    for (size_t i = 0; i < accepted.size() && !not_confirmed.has_value(); ++i) {
      // What is finer than the arithmetic is a description of it.
      if (!accepted[i].coarser) continue;
      auto cause =
          Confirming(setting, weights, aligned, search).Confirm(accepted[i]);
      if (!cause.ok()) return cause.status();
      if (without_effect && cause->kind == CauseKind::kImplementation &&
          !IsProven(*cause)) {
        cause->kind = CauseKind::kEquivalent;
      }
      if (!ConfirmationOf(*cause).not_by.empty()) not_confirmed = i;
      causes.push_back(*std::move(cause));
    }
    if (!not_confirmed.has_value()) return causes;
    // Without it, so that what it seemed to explain is described instead.
    std::vector<Hypothesis> rest = accepted;
    rest.erase(rest.begin() + static_cast<ptrdiff_t>(*not_confirmed));
    search.belief = With(ArithmeticOf(search.belief), rest);
    auto fit = Evaluate(setting, weights, aligned, search.belief,
                        "replay without a cause that is not confirmed");
    if (!fit.ok()) return fit.status();
    search.after = *std::move(fit);
  }
}

}  // namespace ulpscope
