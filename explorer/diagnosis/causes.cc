#include "explorer/diagnosis/causes.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/attribution.h"
#include "explorer/diagnosis/arithmetic.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/search.h"
#include "explorer/figures.h"
#include "explorer/phenomena.h"
#include "explorer/verdict.h"
#include "explorer/verdict_text.h"
#include "kernels/format.h"
#include "model/op.h"
#include "model/plan.h"
#include "model/reference_trace.h"
#include "model/weights.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A cause concerns the points whose distance it changes by this.
constexpr double kConcerns = 0.5;  // log2

double Removed(double without, double with) {
  return without == 0 ? 0 : 1 - (with / without) * (with / without);
}

// distance / allowed, not below 2^-20: allowed may be 0.
double Excess(const PointFit& fit, const Residual& r, const Point& point) {
  if (r.nonfinite > 0 || r.elements == 0) {
    return std::numeric_limits<double>::infinity();
  }
  const double least =
      UnitRoundoffOf(point.held_by) / 16 * std::sqrt(point.squares);
  return fit.distance / std::max(fit.allowed, least);
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
    cause.what = hypothesis.what;
    cause.advice = hypothesis.advice;
    const auto same = search_.same_as.find(hypothesis.id);
    if (same != search_.same_as.end()) cause.same_as = same->second;
    const auto without = Without(hypothesis.id);
    if (!without.ok()) return without.status();
    absl::Status status = Replays(*without, cause);
    if (status.ok()) status = Runs(*without, cause);
    if (!status.ok()) return status;
    return cause;
  }

 private:
  absl::StatusOr<Belief> Without(const std::string& id) const {
    Belief belief = search_.belief;
    belief.accepted.clear();
    auto plan = PlanOfPreset(search_.belief.preset, belief.plan.num_layers());
    if (!plan.ok()) return plan.status();
    belief.plan = *std::move(plan);
    for (const Hypothesis& h : search_.belief.accepted) {
      if (h.id == id) continue;
      auto with = With(belief, h);
      if (!with.ok()) return with.status();
      belief = *std::move(with);
    }
    return belief;
  }

  absl::Status Replays(const Belief& without, DiagnosedCause& cause) {
    const auto fit = Evaluate(setting_, weights_, trace_, without,
                              "diagnosis: confirming a cause");
    if (!fit.ok()) return fit.status();
    double squares_without = 0, squares_with = 0;
    for (size_t i = 0; i < trace_.points().size(); ++i) {
      const Point& point = trace_.points()[i];
      const Residual& r = fit->residuals[i];
      const Residual& with = search_.after.residuals[i];
      if (std::fabs(Log2Distance(point, r) - Log2Distance(point, with)) <
          kConcerns) {
        continue;
      }
      if (cause.points++ == 0) {
        cause.first_layer = point.layer;
        cause.first_op = point.op;
      }
      const double a = Excess(fit->points[i], r, point);
      const double b = Excess(search_.after.points[i], with, point);
      squares_without += a * a;
      squares_with += b * b;
    }
    const double points =
        static_cast<double>(std::max<size_t>(1, cause.points));
    cause.replay_without = std::sqrt(squares_without / points);
    cause.replay_with = std::sqrt(squares_with / points);
    return absl::OkStatus();
  }

  // The last point that runs reach: all causes have had their effect there.
  absl::Status Runs(const Belief& without, DiagnosedCause& cause) {
    cause.run_without = cause.run_with = cause.removed = kNaN;
    const Point& last = trace_.points().back();
    const auto distance = [&](const Belief& belief) -> absl::StatusOr<double> {
      const auto set = weights_.Get(belief.weights());
      if (!set.ok()) return set.status();
      const auto residuals = MeasureCandidates(
          setting_, **set, trace_, {{belief.plan, belief.variant(), nullptr}},
          "diagnosis: confirming a cause by a run");
      if (!residuals.ok()) return residuals.status();
      const Residual& r = residuals->front().back();
      if (r.nonfinite > 0) return std::numeric_limits<double>::infinity();
      return r.squares == 0 ? 0 : std::sqrt(r.squares / last.squares);
    };
    const auto run_without = distance(without);
    if (!run_without.ok()) return run_without.status();
    const auto run_with = distance(search_.belief);
    if (!run_with.ok()) return run_with.status();
    cause.run_without = *run_without;
    cause.run_with = *run_with;
    if (std::isfinite(*run_with)) {
      cause.removed =
          std::isinf(*run_without) ? 1 : Removed(*run_without, *run_with);
    }
    return absl::OkStatus();
  }

  const ReplaySetting& setting_;
  WeightSets& weights_;
  const AlignedTrace& trace_;
  const SearchResult& search_;
};

// The list's last state is something else than a reader of its index expects.
// If the trace has the true one as well, nothing is compared wrongly.
void AddLastState(const ReferenceTrace& trace, const Alignment& alignment,
                  size_t num_layers, std::vector<DiagnosedCause>& causes) {
  if (!alignment.last_state_normed ||
      trace.outputs.count({num_layers, Op::kMlpResidual}) > 0) {
    return;
  }
  DiagnosedCause cause;
  cause.id = "last_state_normed";
  cause.kind = CauseKind::kComparison;
  cause.what = absl::StrFormat(
      "hidden_states[%d] is the state after the final norm, not after layer %d",
      alignment.last_state->index, num_layers);
  cause.advice =
      "compare it with yours after the final norm, or dump the output of the "
      "last layer itself (output_hidden_states=True of transformers returns "
      "the normed one)";
  cause.first_layer = 0;
  cause.first_op = Op::kFinalNorm;
  cause.replay_without = alignment.last_state->raw;
  cause.replay_with = alignment.last_state->normed;
  cause.run_without = cause.run_with = cause.removed = kNaN;
  cause.points = 1;
  causes.push_back(std::move(cause));
}

void AddShift(const Alignment& alignment, std::vector<DiagnosedCause>& causes) {
  if (alignment.state_shift == 0) return;
  DiagnosedCause cause;
  cause.id = "index_off_by_one";
  cause.kind = CauseKind::kComparison;
  const int shift = alignment.state_shift;
  cause.what =
      absl::StrFormat("hidden_states[n] is the state after layer n %c %d",
                      shift > 0 ? '+' : '-', std::abs(shift));
  cause.advice =
      "index 0 is the embedding, index n the state after layer n: rename them";
  cause.run_without = cause.run_with = cause.removed = kNaN;
  for (const Alignment::Shift& tried : alignment.shifts) {
    if (tried.shift == 0) cause.replay_without = tried.mismatch;
    if (tried.shift == shift) {
      cause.replay_with = tried.mismatch;
      cause.points = tried.layers;
    }
  }
  causes.push_back(std::move(cause));
}

void AddTokens(const Alignment& alignment,
               std::vector<DiagnosedCause>& causes) {
  if (alignment.other_tokens.empty()) return;
  const Alignment::OtherToken& first = alignment.other_tokens.front();
  // An embedding that is no token's is for the replay to find.
  if (first.found < 0) return;
  DiagnosedCause cause;
  cause.id = "other_tokens";
  cause.kind = CauseKind::kComparison;
  cause.what = absl::StrFormat(
      "position %d of the trace has the embedding of token %d, not of %d",
      first.position, first.found, first.token);
  cause.advice = "run the tokens of the trace";
  cause.run_without = cause.run_with = cause.removed = kNaN;
  cause.points = alignment.other_tokens.size();
  causes.push_back(std::move(cause));
}

}  // namespace

absl::StatusOr<std::vector<DiagnosedCause>> CausesOf(
    const ReplaySetting& setting, WeightSets& weights,
    const ReferenceTrace& trace, const AlignedTrace& aligned,
    const SearchResult& search, const Alignment& alignment) {
  std::vector<DiagnosedCause> causes;
  AddTokens(alignment, causes);
  AddShift(alignment, causes);
  AddLastState(trace, alignment, weights.original().layers.size(), causes);
  Confirming confirming(setting, weights, aligned, search);
  for (const Hypothesis& hypothesis : search.belief.accepted) {
    // What is finer than the arithmetic is a description of it.
    if (!hypothesis.coarser) continue;
    auto cause = confirming.Confirm(hypothesis);
    if (!cause.ok()) return cause.status();
    causes.push_back(*std::move(cause));
  }
  return causes;
}

absl::StatusOr<RoundingCauses> AttributeRounding(const ReplaySetting& setting,
                                                 const Weights& weights,
                                                 const Belief& belief) {
  RoundingCauses result;
  const StrategyInfo& stream = belief.plan.Get(1, Op::kMlpResidual).info();
  const StrategyInfo& products = belief.plan.Get(1, Op::kDownProj).info();
  if (std::max(UnitRoundoff(stream.result), UnitRoundoff(products.result)) <=
      UnitRoundoff(Format::kF32)) {
    return result;
  }
  PhenomenaOptions phenomena_options;
  phenomena_options.tokens = {setting.tokens.begin(), setting.tokens.end()};
  phenomena_options.stop = setting.stop;
  const auto phenomena =
      FindPhenomena(weights, belief.plan, phenomena_options, setting.parallel);
  if (!phenomena.ok()) return phenomena.status();
  AttributionOptions options;
  options.tokens = phenomena_options.tokens;
  options.memory = setting.memory;
  options.stop = setting.stop;
  options.repairs = false;
  const auto attribution =
      Attribute(weights, belief.plan, options, setting.parallel);
  if (!attribution.ok()) return attribution.status();
  if (!attribution->stopped_in.empty()) {
    return absl::CancelledError(attribution->stopped_in);
  }
  const Verdict& verdict =
      result.verdict.emplace(Judge(belief.plan, *attribution, &*phenomena));

  DiagnosedCause rounding;
  rounding.kind = CauseKind::kRounding;
  rounding.id = "rounding";
  rounding.what =
      absl::StrCat("rounding of the trace's arithmetic, `", belief.preset, "`");
  rounding.advice =
      "nothing is wrong: compare with a reference in f32 or f64, or allow for "
      "this arithmetic's rounding";
  rounding.first_layer = 1;
  rounding.first_op = Op::kInputNorm;
  rounding.run_without = verdict.rel_l2;
  rounding.run_with = rounding.removed = kNaN;
  if (verdict.source.has_value()) {
    const ErrorSource& source = *verdict.source;
    rounding.first_layer = source.first_layer;
    rounding.first_op = source.ops.front();
    if (source.channel.has_value() && source.channel->massive) {
      const SourceChannel& channel = *source.channel;
      rounding.id = "rounding_of_massive_activation";
      rounding.first_layer = channel.born;
      rounding.what = absl::StrFormat(
          "rounding to %s of channel %d, a massive activation born in layer "
          "%d: up to %s, where %s has a spacing of %s",
          FormatName(channel.format), channel.channel, channel.born,
          Number(std::fabs(channel.value)), FormatName(channel.format),
          Number(channel.spacing));
    }
  }
  result.causes.push_back(rounding);
  if (verdict.exposed_by.has_value()) {
    const Exposure& exposure = *verdict.exposed_by;
    DiagnosedCause cause;
    cause.kind = CauseKind::kRounding;
    cause.id = "cancellation";
    cause.what = absl::StrFormat(
        "%s of layer %d cancels %s-fold and exposes it%s", OpName(exposure.op),
        exposure.layer, Number(exposure.ratio),
        verdict.spread_by.has_value()
            ? absl::StrCat("; layer ", verdict.spread_by->layer,
                           " spreads it over the channels")
            : "");
    cause.advice =
        "a residual stream in f32 up to that layer keeps what is cancelled";
    cause.first_layer = exposure.layer;
    cause.first_op = exposure.op;
    cause.replay_without = exposure.error_before;
    cause.replay_with = exposure.error_after;
    cause.run_without = cause.run_with = cause.removed = kNaN;
    result.causes.push_back(std::move(cause));
  }
  return result;
}

}  // namespace ulpscope
