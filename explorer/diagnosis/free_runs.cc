#include "explorer/diagnosis/free_runs.h"

#include <cstddef>
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
    if (state.layer == 0 || !state.is_finite()) continue;
    ++all;
    if (state.trace_to_oracle * kNearer <= state.ours_to_oracle) ++trace;
    if (state.ours_to_oracle * kNearer <= state.trace_to_oracle) ++ours;
  }
  const auto most = [all](size_t count) {
    return all > 0 &&
           static_cast<double>(count) >= kMostStates * static_cast<double>(all);
  };
  return most(trace) ? 1 : most(ours) ? -1 : 0;
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
  for (size_t i = 0; i < trace.points().size(); ++i) {
    const Point& point = trace.points()[i];
    const Residual& ours = (*own)[1][i];
    const Residual& emulation = (*emulated)[1][i];
    Count(ours.ours_nonfinite, i, runs.ours_nonfinite);
    if (point.op != Op::kEmbed && point.op != Op::kMlpResidual &&
        point.op != Op::kFinalNorm) {
      continue;
    }
    StateDistance state;
    state.normed = point.op == Op::kFinalNorm;
    state.layer = state.normed ? num_layers : point.layer;
    // These two compute every state.
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
