#include "explorer/diagnosis/belief.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/error/run.h"
#include "kernels/measure/norms.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/rounded_tensors.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

Variant Belief::variant() const {
  Variant variant;
  variant.rope_angles_f32 = rope_angles_f32;
  for (const Hypothesis& hypothesis : accepted) {
    Apply(hypothesis, plan.num_layers(), variant);
  }
  return variant;
}

std::optional<WeightRounding> Belief::weights() const {
  for (const Hypothesis& hypothesis : accepted) {
    if (hypothesis.weights.has_value()) return hypothesis.weights;
  }
  return std::nullopt;
}

Belief BeliefInPlan(absl::string_view plan, size_t num_layers) {
  Belief belief;
  belief.preset = std::string(plan);
  belief.arithmetic = *Plan::Parse(plan, num_layers);
  belief.plan = belief.arithmetic;
  belief.rope_angles_f32 = true;
  return belief;
}

Belief ArithmeticOf(const Belief& belief) {
  Belief bare = belief;
  bare.plan = belief.arithmetic;
  bare.accepted.clear();
  return bare;
}

Belief With(const Belief& belief, absl::Span<const Hypothesis> hypotheses) {
  Belief with = belief;
  for (const Hypothesis& hypothesis : hypotheses) {
    with.accepted.push_back(hypothesis);
    // An entry is made for the plan's layers: it always applies.
    if (hypothesis.plan_entry.empty()) continue;
    with.plan = *with.plan.With(hypothesis.plan_entry);
  }
  return with;
}

namespace {

// What a distance of zero counts as, by the trace's norm: well below one
// rounding of one of its elements.
double Floor(double unit_roundoff) { return unit_roundoff / 16; }

struct PartFit {
  double distance = 0, allowed = 0, tolerance = 0, norm = 0;

  double Excess(double unit_roundoff) const {
    if (distance == 0) return 0;
    const double least = Floor(unit_roundoff) * norm;
    return distance / std::max(allowed, least);
  }
};

PartFit FitPart(const Residual::Part& own, const Residual::Part& f32,
                const Residual::Part* stored, double unit_roundoff,
                size_t elements, double squares) {
  PartFit fit;
  fit.norm = std::sqrt(squares);
  fit.distance = std::sqrt(own.squares);
  const bool coarse = own.noise_squares >= 0x1p-58 * f32.noise_squares;
  const Residual::Part& rounding = coarse ? own : f32;
  const double independent =
      rounding.noise_quartic > 0
          ? std::max(1.0, rounding.noise_squares * rounding.noise_squares /
                              rounding.noise_quartic)
          : std::max(1.0, static_cast<double>(elements));
  fit.tolerance = 2 * (1 + 6 * std::sqrt(2 / independent));
  double noise = rounding.noise_squares * (coarse ? 1 : 0x1p-58);
  if (stored != nullptr) {
    noise += stored->own_squares + unit_roundoff * unit_roundoff * squares / 3;
  }
  fit.allowed = fit.tolerance * std::sqrt(noise);
  return fit;
}

}  // namespace

PointFit FitOf(const Point& point, const Residual& own, const Residual& f32,
               const Residual* stored, double unit_roundoff) {
  const PartFit all =
      FitPart(own.all, f32.all, stored == nullptr ? nullptr : &stored->all,
              unit_roundoff, own.elements, point.squares);
  const PartFit usual = FitPart(
      own.usual, f32.usual, stored == nullptr ? nullptr : &stored->usual,
      unit_roundoff, own.elements, point.usual_squares);
  PointFit fit;
  fit.usual = usual.Excess(unit_roundoff) > all.Excess(unit_roundoff);
  const PartFit& worse = fit.usual ? usual : all;
  fit.distance = RatioOrZero(worse.distance, worse.norm);
  fit.allowed = RatioOrZero(worse.allowed, worse.norm);
  fit.tolerance = worse.tolerance;
  fit.excess = worse.Excess(unit_roundoff);
  fit.allowed_all = all.allowed;
  fit.allowed_usual = usual.allowed;
  fit.judged = point.judged;
  fit.explained = IsWithin(own, fit);
  if (fit.judged && (own.elements == 0 || own.nonfinite > 0)) {
    fit.distance = fit.excess = std::numeric_limits<double>::infinity();
  }
  return fit;
}

Flips FlipsOf(const Point& point, Format result, const Residual& f32) {
  Flips flips;
  flips.known = point.has_inputs && point.judged && Has16Bits(result);
  if (!flips.known) return flips;
  flips.expected = result == Format::kF16 ? f32.flips_f16 : f32.flips_bf16;
  flips.allowed = 4 * flips.expected + 6 * std::sqrt(flips.expected) + 6;
  return flips;
}

bool IsWithin(const Residual& residual, const PointFit& fit) {
  if (!fit.judged) return true;
  return residual.elements > 0 && residual.nonfinite == 0 &&
         std::sqrt(residual.all.squares) <= fit.allowed_all &&
         std::sqrt(residual.usual.squares) <= fit.allowed_usual;
}

double Log2Distance(const AlignedTrace& trace, size_t point_index,
                    const Residual& residual) {
  const Point& point = trace.points()[point_index];
  if (point.squares == 0 || !point.judged) return 0;
  const double floor = Floor(UnitRoundoff(trace.format()));
  const double elements = static_cast<double>(point.tensor->rows.rows()) *
                          static_cast<double>(point.tensor->rows.view().cols);
  double wrong = 0x1p20 * static_cast<double>(residual.nonfinite) / elements;
  if (residual.elements == 0) wrong += 0x1p20;
  const auto log2_of = [&](double squares, double all) {
    return std::log2(squares / all + floor * floor + wrong) / 2;
  };
  const double all = log2_of(residual.all.squares, point.squares);
  if (point.usual_squares == 0) return all;
  return (all + log2_of(residual.usual.squares, point.usual_squares)) / 2;
}

Fit FitOf(const AlignedTrace& trace, const Plan& plan,
          const std::vector<Residual>& own, const std::vector<Residual>& f32,
          const std::vector<Residual>* stored) {
  Fit fit;
  struct Known {  // points of which Flips are
    size_t points = 0, reproduced = 0;
  };
  std::map<Op, Known> known_of_op;
  size_t known = 0;
  fit.residuals = own;
  for (size_t i = 0; i < own.size(); ++i) {
    const Point& point = trace.points()[i];
    fit.points.push_back(FitOf(point, own[i], f32[i],
                               stored == nullptr ? nullptr : &(*stored)[i],
                               UnitRoundoff(trace.format())));
    if (fit.points.back().explained) ++fit.explained;
    const Flips flips =
        FlipsOf(point, plan.Get(point.layer, point.op).info().result, f32[i]);
    if (flips.known) {
      ++known;
      const double different =
          static_cast<double>(own[i].elements - own[i].identical);
      const bool reproduced = different <= flips.allowed;
      fit.points.back().reproduced = reproduced;
      Known& of_op = known_of_op[point.op];
      ++of_op.points;
      of_op.reproduced += reproduced;
    }
    if (fit.points.back().reproduced) ++fit.reproduced;
    fit.mean_log2 += Log2Distance(trace, i, own[i]);
  }
  // Of most points: of states between layers alone it says nothing.
  fit.flips_known = 2 * known > fit.points.size();
  size_t ops_reproduced = 0;
  for (const auto& [op, of_op] : known_of_op) {
    ops_reproduced += static_cast<double>(of_op.reproduced) >=
                      kMostPoints * static_cast<double>(of_op.points);
  }
  fit.bit_for_bit = fit.flips_known && 2 * ops_reproduced >= known_of_op.size();
  fit.mean_log2 /= static_cast<double>(std::max<size_t>(1, own.size()));
  return fit;
}

absl::StatusOr<const Weights*> WeightSets::Get(
    std::optional<WeightRounding> rounding) {
  if (!rounding.has_value()) return &run_.weights;
  if (rounding_ == rounding) return &rounded_;
  double parameters = 0;
  const auto count = [&parameters](const Panels& panels) {
    parameters += static_cast<double>(panels.view().n) *
                  static_cast<double>(panels.view().k);
  };
  count(run_.weights.embed);
  count(run_.weights.lm_head);
  for (const LayerWeights& layer : run_.weights.layers) {
    for (const Panels* panels :
         {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj,
          &layer.gate_proj, &layer.up_proj, &layer.down_proj}) {
      count(*panels);
    }
  }
  const double bytes = parameters * (rounding == WeightRounding::kQ8_0 ? 4 : 2);
  if (bytes > static_cast<double>(run_.memory)) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "another copy of the weights takes %.1f GB, --memory allows %.1f",
        bytes / 1e9, static_cast<double>(run_.memory) / 1e9));
  }
  rounding_.reset();
  rounded_ = Weights();
  Checkpoint rounded;
  rounded.name = checkpoint_.name;
  rounded.synthetic = checkpoint_.synthetic;
  rounded.config = checkpoint_.config;
  rounded.tensors = RoundedTensors(*checkpoint_.tensors, *rounding);
  LoadOptions options;
  options.stop = StopOf(run_.monitor);
  auto loaded = LoadWeights(
      rounded, run_.parallel,
      [&](size_t done, size_t total) {
        run_.monitor.OnBytes("loading rounded weights", done, total);
      },
      options);
  if (!loaded.ok()) return loaded.status();
  rounded_ = *std::move(loaded);
  rounding_ = rounding;
  return &rounded_;
}

absl::StatusOr<Fit> Evaluate(const ReplaySetting& setting, WeightSets& weights,
                             const AlignedTrace& trace, const Belief& belief,
                             absl::string_view task) {
  const size_t num_layers = weights.original().layers.size();
  const auto set = weights.Get(belief.weights());
  if (!set.ok()) return set.status();
  const Plan oracle = Plan::Oracle(num_layers);
  const PerturbedTrace perturbed(trace, UnitRoundoff(trace.format()));
  const Variant variant = belief.variant();
  // The oracle's angles are exact: their rounding is part of the arithmetic.
  Variant exact = variant;
  exact.rope_angles_f32 = false;
  std::vector<Candidate> candidates = {
      {oracle, exact, &trace},
      {belief.plan, variant, &trace, belief.stored_rounded},
      {Plan(num_layers), variant, &trace}};
  if (belief.stored_rounded) {
    candidates.push_back({oracle, exact, &perturbed});
  }
  const auto residuals =
      MeasureCandidates(setting, **set, trace, candidates, task);
  if (!residuals.ok()) return residuals.status();
  return FitOf(trace, belief.plan, (*residuals)[1], (*residuals)[2],
               belief.stored_rounded ? &(*residuals)[3] : nullptr);
}

}  // namespace ulpscope
