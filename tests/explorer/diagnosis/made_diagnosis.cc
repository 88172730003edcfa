#include "tests/explorer/diagnosis/made_diagnosis.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/verdict.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/metrics.h"
#include "kernels/base/format.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

constexpr Op kTracedOps[] = {Op::kInputNorm, Op::kRope, Op::kMlpResidual};

// Of any size.
double Any(Random& random) { return std::exp2(random.Uniform(-20, -3)); }

ErrorMetrics AnyError(Random& random) {
  ErrorMetrics error;
  error.mean_abs = Any(random);
  error.rmse = Any(random);
  error.max_abs = Any(random);
  error.rel_l2 = Any(random);
  return error;
}

PointResult MadePoint(size_t layer, Op op, Random& random) {
  PointResult point;
  point.layer = layer;
  point.op = op;
  point.name = absl::StrCat("tensor.", layer, ".", OpName(op));
  point.stored_as = "F32";
  point.held_by = HeldBy::kBF16;
  point.elements = 896;
  point.allowed = 0.01 + Any(random) / 100;
  point.tolerance = 6 + Any(random);
  point.distance = *point.allowed * random.Uniform(0.1, 0.9);
  point.distance_with_causes = point.distance;
  point.identical = random.Uniform(0.9, 1);
  point.identical_with_causes = point.identical;
  point.closest = "torch-bf16";
  return point;
}

PointResult* FindPoint(Diagnosis& d, size_t layer, Op op) {
  for (PointResult& point : d.points) {
    if (point.layer == layer && point.op == op) return &point;
  }
  return nullptr;
}

void SetFirsts(Diagnosis& d) {
  d.first_difference.reset();
  d.first_unexplained.reset();
  for (size_t i = d.points.size(); i-- > 0;) {
    if (d.points[i].differs) d.first_difference = i;
    if (d.points[i].still_differs) d.first_unexplained = i;
  }
}

}  // namespace

Diagnosis CleanDiagnosis(size_t num_layers, Random& random) {
  Diagnosis d;
  d.plan = "f32";
  d.tokens = {9707};
  d.tokens_are_traces = true;
  d.positions = 1;
  d.num_layers = num_layers;
  d.alignment.shifts = {{0, Any(random), num_layers - 1},
                        {1, 1.4 + Any(random), num_layers - 2},
                        {-1, 1.4 + Any(random), num_layers - 2}};
  d.alignment.last_state = {{num_layers, Any(random), 1 + Any(random)}};
  d.arithmetic.name = "torch-bf16";
  d.arithmetic.plan = "torch-bf16";
  for (const char* name : {"torch-bf16", "f32"}) {
    d.arithmetic.presets.push_back(
        {name, name, name[0] == 't', 0, -10 * Any(random)});
  }
  for (size_t layer = 0; layer <= num_layers; ++layer) {
    StateDistance state;
    state.layer = layer;
    state.trace_to_oracle = 0.01 + Any(random) / 100;
    state.ours_to_oracle = 1e-6 * Any(random);
    state.trace_to_ours = 0.01 + Any(random) / 100;
    state.emulation_to_oracle = 0.01 + Any(random) / 100;
    state.trace_to_emulation = Any(random);
    d.states.push_back(state);
    if (layer == 0) {
      d.points.push_back(MadePoint(0, Op::kEmbed, random));
      continue;
    }
    for (const Op op : kTracedOps) {
      d.points.push_back(MadePoint(layer, op, random));
    }
    ErrorRow row;
    row.layer = layer;
    row.error = AnyError(random);
    row.error_aligned = row.error;
    if (layer > 1) {
      row.growth = row.error.mean_abs / d.rows.back().error.mean_abs;
    }
    ErrorShares& shares = row.shares.emplace();
    shares.rounding = random.Uniform(0.5, 0.9);
    shares.own = 0.005;
    shares.inherited = 1 - shares.rounding - shares.own;
    d.rows.push_back(row);
  }
  d.points.push_back(MadePoint(0, Op::kLmHead, random));
  d.arithmetic.presets[0].points_explained = d.points.size();
  d.arithmetic.points_that_tell = d.points.size() - 1;
  d.nearer_to_oracle = -1;
  return d;
}

Diagnosis SeedDiagnosis(Random& random) {
  Diagnosis d = CleanDiagnosis(24, random);
  d.alignment.last_state_normed = true;
  std::swap(d.alignment.last_state->raw, d.alignment.last_state->normed);
  const auto row = [&d](size_t layer) -> ErrorRow& {
    return d.rows[layer - 1];
  };
  row(3).growth = 15.01;
  row(3).error.max_abs = 4.107605;
  row(22).error.max_abs = 10.253304;
  row(22).shares->inherited = 0.125;
  row(22).shares->cancellation = 0.8125;
  row(22).shares->rounding = 0.0575;
  row(23).growth = 3.8126;
  row(23).error.max_abs = 3.379961;
  row(24).growth = 20.187;
  row(24).error.mean_abs = 3.405869;
  row(24).error.max_abs = 49.161961;
  row(24).error_aligned.mean_abs = 0.023875;
  row(24).shares->comparison = 0.9971;
  row(24).shares->rounding = row(24).shares->inherited = 0.00145;
  row(24).shares->own = 0;
  d.causes.resize(3);
  d.causes[0].id = "rounding_of_massive_activation";
  d.causes[0].kind = CauseKind::kRounding;
  d.causes[0].what = "the trace rounds a massive activation to bf16";
  d.causes[0].run_without = 0.015625;
  d.causes[0].first_layer = 3;
  d.causes[0].first_op = Op::kMlpResidual;
  d.causes[1].id = "cancellation";
  d.causes[1].kind = CauseKind::kRounding;
  d.causes[1].what = "layer 22 removes it, and leaves its rounding errors";
  d.causes[1].first_layer = 22;
  d.causes[1].first_op = Op::kMlpResidual;
  d.causes[2].id = "last_state_normed";
  d.causes[2].kind = CauseKind::kComparison;
  d.causes[2].what = "the last state is compared after the final norm";
  d.causes[2].advice = "compare it before the final norm";
  d.causes[2].first_op = Op::kFinalNorm;
  d.causes[2].replay_without = d.alignment.last_state->raw;
  d.causes[2].replay_with = d.alignment.last_state->normed;
  Verdict verdict;
  verdict.plan = "torch-bf16";
  verdict.rel_l2 = Any(random);
  verdict.logits_rel_l2 = Any(random);
  verdict.kl = Any(random);
  ErrorSource source;
  source.ops = {Op::kMlpResidual};
  source.first_layer = 3;
  source.last_layer = 21;
  source.squared_share = 0.873;
  source.channel = SourceChannel();
  source.channel->channel = 62;
  source.channel->error_share = 0.934;
  source.channel->massive = true;
  source.channel->born = 3;
  source.channel->removed = 22;
  source.channel->value = -1667;
  source.channel->value_layer = 21;
  source.channel->ratio_to_median = 4321;
  source.channel->rounded = true;
  source.channel->format = Format::kBF16;
  source.channel->spacing = 8;
  verdict.source = source;
  verdict.exposed_by =
      Exposure{22, Op::kMlpResidual, 59.6, 55.7, 1.87, 0.0123, 0.456, 0.478};
  verdict.spread_by = Spreading{23, 0.91, 0.17, 1.34};
  d.rounding = verdict;
  return d;
}

void MakeNotFinite(Diagnosis& d, size_t layer, Op op) {
  bool behind = false;
  d.trace_nonfinite.reset();
  for (size_t i = 0; i < d.points.size(); ++i) {
    PointResult& point = d.points[i];
    const bool first = point.layer == layer && point.op == op;
    if (!first && !behind) continue;
    point.nonfinite = point.nan = point.elements;
    point.held_by.reset();
    point.closest.clear();
    if (first) {
      point.distance = point.distance_with_causes = HUGE_VAL;
      point.differs = point.still_differs = true;
      d.trace_nonfinite = NonFinite{i, 0, 0};
    } else {
      point.judged = false;
      point.distance.reset();
      point.distance_with_causes.reset();
      point.allowed.reset();
    }
    behind = true;
    ++d.trace_nonfinite->points;
    d.trace_nonfinite->elements += point.elements;
  }
  for (StateDistance& state : d.states) {
    if (state.layer < layer) continue;
    state.trace_to_oracle = state.ours_to_oracle = state.trace_to_ours = NAN;
    state.emulation_to_oracle = state.trace_to_emulation = NAN;
  }
  d.nearer_to_oracle = 0;
  SetFirsts(d);
}

void MakeUnexplained(Diagnosis& d, size_t layer, Op op) {
  PointResult& point = *FindPoint(d, layer, op);
  point.distance = point.distance_with_causes = 0.8312;
  point.identical = point.identical_with_causes = 0.0625;
  point.differs = point.still_differs = true;
  SetFirsts(d);
}

DiagnosedCause MadeCause(const char* id, size_t layer, Op op, Random& random) {
  DiagnosedCause cause;
  cause.id = id;
  cause.kind = CauseKind::kImplementation;
  cause.what = absl::StrCat("what ", id, " is");
  cause.advice = absl::StrCat("undo ", id);
  cause.first_layer = layer;
  cause.first_op = op;
  cause.replay_without = 30 + Any(random);
  cause.replay_with = 0.3 + Any(random);
  cause.run_without = 0.8 + Any(random);
  cause.run_with = 0.01 + Any(random) / 100;
  cause.removed = 1 - std::pow(*cause.run_with / *cause.run_without, 2);
  return cause;
}

void AddCause(Diagnosis& d, const DiagnosedCause& cause) {
  d.causes.push_back(cause);
  for (PointResult& point : d.points) {
    if (point.op != cause.first_op || point.layer < cause.first_layer) continue;
    point.distance = 0.75;
    point.differs = true;
    point.identical = 0.125;
    ++d.causes.back().points;
  }
  SetFirsts(d);
}

}  // namespace ulpscope
