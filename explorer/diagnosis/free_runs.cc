#include "explorer/diagnosis/free_runs.h"

#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// One is nearer to the oracle if it is this many times as near, at this share
// of the states.
constexpr double kNearer = 2;
constexpr double kMostStates = 0.75;

// The embedding is no run's work.
int NearerToOracle(const std::vector<StateDistance>& states) {
  size_t trace = 0, ours = 0, all = 0;
  for (const StateDistance& state : states) {
    if (state.op == Op::kEmbed) continue;
    // What neither is finite at says nothing.
    if (!std::isfinite(state.trace_to_oracle) && state.trace_nonfinite == 0) {
      continue;
    }
    ++all;
    const int nearer = state.NearerBy(kNearer);
    if (nearer > 0) ++trace;
    if (nearer < 0) ++ours;
  }
  const auto most = [all](size_t count) {
    return all > 0 &&
           static_cast<double>(count) >= kMostStates * static_cast<double>(all);
  };
  return most(trace) ? 1 : most(ours) ? -1 : 0;
}

bool IsState(Op op) {
  return op == Op::kEmbed || op == Op::kMlpResidual || op == Op::kFinalNorm;
}

// The ops at which runs are compared: states, if there is one after a layer;
// else the logits; else whatever there is.
std::function<bool(Op)> ComparedOps(const AlignedTrace& trace) {
  bool any_state = false, any_logits = false;
  for (const Point& point : trace.points()) {
    any_state = any_state || (IsState(point.op) && point.op != Op::kEmbed);
    any_logits = any_logits || point.op == Op::kLmHead;
  }
  if (any_state) return IsState;
  if (!any_logits) return [](Op) { return true; };
  return [](Op op) { return op == Op::kEmbed || op == Op::kLmHead; };
}

}  // namespace

void Count(size_t elements, size_t point, std::optional<NonFinite>& all) {
  if (elements == 0) return;
  if (!all.has_value()) all = NonFinite{point, 0, 0};
  ++all->points;
  all->elements += elements;
}

absl::StatusOr<FreeRuns> CompareFreeRuns(const ReplaySetting& setting,
                                         WeightSets& weights, const Plan& plan,
                                         const AlignedTrace& trace,
                                         const Belief& belief) {
  const size_t num_layers = plan.num_layers();
  const Plan oracle = Plan::Oracle(num_layers);
  const auto own = MeasureCandidates(
      setting, weights.original(), trace,
      {{oracle, {}, nullptr}, {plan, {}, nullptr}}, "free runs");
  if (!own.ok()) return own.status();
  const auto set = weights.Get(belief.weights());
  if (!set.ok()) return set.status();
  const auto emulated = MeasureCandidates(
      setting, **set, trace,
      {{oracle, {}, nullptr}, {belief.plan, belief.variant(), nullptr}},
      "run of the trace's arithmetic");
  if (!emulated.ok()) return emulated.status();
  FreeRuns runs;
  const auto compared = ComparedOps(trace);
  for (size_t i = 0; i < trace.points().size(); ++i) {
    const Point& point = trace.points()[i];
    const Residual& ours = (*own)[1][i];
    const Residual& emulation = (*emulated)[1][i];
    Count(ours.ours_nonfinite, i, runs.ours_nonfinite);
    if (!compared(point.op)) continue;
    StateDistance state;
    state.op = point.op;
    state.normed = point.op == Op::kFinalNorm;
    state.layer = state.normed ? num_layers : point.layer;
    state.elements = ours.elements;
    state.trace_nonfinite = (*own)[0][i].theirs_nonfinite;
    state.ours_nonfinite = ours.own_nonfinite;
    // These two compute every op.
    state.trace_to_oracle = RelativeDistance(point, (*own)[0][i]).value();
    state.ours_to_oracle = RelativeOwnDistance(point, ours).value();
    state.trace_to_ours = RelativeDistance(point, ours).value();
    state.emulation_to_oracle = RelativeOwnDistance(point, emulation);
    state.trace_to_emulation = RelativeDistance(point, emulation);
    runs.states.push_back(state);
  }
  runs.nearer_to_oracle = NearerToOracle(runs.states);
  return runs;
}

}  // namespace ulpscope
