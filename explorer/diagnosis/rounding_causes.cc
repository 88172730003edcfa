#include "explorer/diagnosis/rounding_causes.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/cure.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/verdict.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/search.h"
#include "explorer/error/baseline.h"
#include "explorer/phenomena/phenomena.h"
#include "kernels/base/format.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

double Removed(double without, double with) {
  return 1 - (with / without) * (with / without);
}

// Whether anything of it is rounded more coarsely than to f32.
bool IsCoarse(const Plan& plan) {
  for (size_t i = 0; i < kNumOps; ++i) {
    const Op op = OpAt(i);
    const StrategyInfo& info = plan.Get(IsPerLayer(op) ? 1 : 0, op).info();
    if (UnitRoundoff(info.result) > UnitRoundoff(Format::kF32) ||
        info.kv_codes != KvCodes::kNone) {
      return true;
    }
  }
  return false;
}

// RMS over the states after these layers of the relative distance.
std::optional<double> StateDistanceOf(const AlignedTrace& aligned,
                                      const Fit& fit, size_t first_layer,
                                      size_t last_layer) {
  double sum = 0, count = 0;
  for (size_t i = 0; i < aligned.points().size(); ++i) {
    const Point& point = aligned.points()[i];
    if (point.op != Op::kMlpResidual || point.layer < first_layer ||
        point.layer > last_layer || point.squares == 0) {
      continue;
    }
    sum += fit.residuals[i].all.squares / point.squares;
    ++count;
  }
  if (count == 0) return std::nullopt;
  return std::sqrt(sum / count);
}

// Infinities or NaN of the trace, from a point on, that its arithmetic gives.
DiagnosedCause BreakdownOf(const Point& point, const Belief& belief) {
  DiagnosedCause cause;
  cause.kind = CauseKind::kRounding;
  cause.id = "breakdown";
  cause.what = absl::StrCat("the trace's arithmetic, `", belief.preset,
                            "`, gives infinities or NaN");
  cause.advice =
      "run what overflows in a format of a wider range, as bf16 or f32";
  cause.first_layer = point.layer;
  cause.first_op = point.op;
  cause.points = 1;
  return cause;
}

DiagnosedCause CancellationOf(const Verdict& verdict,
                              const std::vector<StateDistance>& states) {
  const Exposure& exposure = *verdict.exposed_by;
  DiagnosedCause cause;
  cause.kind = CauseKind::kRounding;
  cause.id = "cancellation";
  cause.what = absl::StrFormat(
      "the cancellation in %s of layer %d exposes that error%s",
      OpName(exposure.op), exposure.layer,
      verdict.spread_by.has_value()
          ? absl::StrCat(", and layer ", verdict.spread_by->layer,
                         " spreads it")
          : "");
  cause.advice =
      "a residual stream in f32 up to that layer keeps what is cancelled";
  cause.first_layer = exposure.layer;
  cause.first_op = exposure.op;
  cause.replay_without = exposure.error_before;
  cause.replay_with = exposure.inherited_after;
  for (const StateDistance& state : states) {
    if (state.normed) continue;
    if (state.layer + 1 == exposure.layer) {
      cause.run_without = state.trace_to_oracle;
    }
    if (state.layer == exposure.layer) cause.run_with = state.trace_to_oracle;
  }
  cause.points = 1;
  return cause;
}

}  // namespace

absl::StatusOr<RoundingCauses> AttributeRounding(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& aligned, const SearchResult& search,
    const std::vector<StateDistance>& states) {
  RoundingCauses result;
  const Plan& plan = search.belief.plan;
  if (!IsCoarse(plan)) return result;
  const Run run = {weights.original(), setting.memory, setting.monitor,
                   setting.parallel};
  AttributionParts parts;
  parts.repairs = parts.logits_of_causes = false;
  PhenomenaWatch watch(run.weights.layers.size());
  const Plan oracle = Plan::Oracle(plan.num_layers());
  const auto baseline = MakeBaseline(run, plan, oracle, setting.tokens, &watch);
  if (!baseline.ok()) return baseline.status();
  const Phenomena phenomena = watch.Found(*baseline);
  const auto attribution = Attribute(run, *baseline, parts);
  if (!attribution.ok()) return attribution.status();
  if (!attribution->stopped_in.empty()) {
    return absl::CancelledError(attribution->stopped_in);
  }
  Verdict& verdict =
      result.verdict.emplace(Judge(plan, oracle, *attribution, &phenomena));
  const std::vector<Strategy> strategies = {Strategy()};  // f32
  const absl::Status cured = TryCures(run, *baseline, strategies, verdict);
  if (!cured.ok()) return cured;
  // What is not finite is no rounding, and has no size to be explained.
  for (const Point& point : aligned.points()) {
    if (point.nonfinite == 0) continue;
    result.causes.push_back(BreakdownOf(point, search.belief));
    return result;
  }
  if (!std::isfinite(*verdict.rel_l2)) return result;
  Belief in_f32 = search.belief;
  in_f32.plan = Plan(plan.num_layers());
  const auto f32 =
      Evaluate(setting, weights, aligned, in_f32, "replay under f32");
  if (!f32.ok()) return f32.status();

  DiagnosedCause rounding;
  rounding.kind = CauseKind::kRounding;
  rounding.id = "rounding";
  rounding.what = absl::StrCat("rounding of the trace's arithmetic, `",
                               search.belief.preset, "`");
  rounding.advice =
      "nothing is wrong: compare with a reference in f32 or f64, or allow for "
      "this arithmetic's rounding";
  rounding.first_layer = 1;
  rounding.first_op = Op::kInputNorm;
  size_t last_layer = plan.num_layers();
  if (verdict.source.has_value()) {
    const ErrorSource& source = *verdict.source;
    rounding.first_layer = source.first_layer;
    rounding.first_op = source.ops.front();
    if (source.last_layer > 0) last_layer = source.last_layer;
    if (source.channel.has_value() && source.channel->massive &&
        source.channel->rounded) {
      const SourceChannel& channel = *source.channel;
      rounding.id = "rounding_of_massive_activation";
      rounding.first_layer = channel.born;
      rounding.what = absl::StrFormat(
          "rounding to %s of channel %d, a massive activation born in layer %d",
          FormatName(channel.format), channel.channel, channel.born);
    }
    if (source.isolated.has_value() && !source.isolated->upgraded.empty()) {
      rounding.run_without = source.isolated->rel_l2;
      rounding.run_with = source.isolated->upgraded.front().rel_l2;
      rounding.removed = Removed(*rounding.run_without, *rounding.run_with);
    }
  }
  rounding.replay_without =
      StateDistanceOf(aligned, *f32, rounding.first_layer, last_layer);
  rounding.replay_with =
      StateDistanceOf(aligned, search.after, rounding.first_layer, last_layer);
  for (const Point& point : aligned.points()) {
    if (point.op == Op::kMlpResidual && point.layer >= rounding.first_layer &&
        point.layer <= last_layer) {
      ++rounding.points;
    }
  }
  result.causes.push_back(std::move(rounding));
  if (verdict.exposed_by.has_value()) {
    result.causes.push_back(CancellationOf(verdict, states));
  }
  return result;
}

}  // namespace ulpscope
