#include "explorer/phenomena/archived_phenomena.h"

#include <algorithm>
#include <cstddef>

#include "explorer/error/archive.h"
#include "explorer/error/archived_metrics.h"
#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/flips.h"
#include "explorer/phenomena/large_scores.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/output_range.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/phenomena/softmax_weights.h"

namespace ulpscope {

void Visit(Archive& a, MassiveChannel& m) {
  a.Figure("channel", m.channel);
  a.Figure("position", m.position);
  a.Figure("born", m.born);
  VisitOp(a, "born_op", m.born_op);
  a.Figure("removed", m.removed);
  VisitOp(a, "removed_op", m.removed_op);
  a.Figure("left", m.left);
  a.Figure("value", m.value);
  a.Figure("value_layer", m.value_layer);
  a.Figure("ratio_to_median", m.ratio_to_median);
}

void Visit(Archive& a, CancellingAdd& add) {
  a.Figure("layer", add.layer);
  VisitOp(a, "op", add.op);
  a.Figure("ratio", add.ratio);
  a.Figure("std_before", add.std_before);
  a.Figure("std_after", add.std_after);
}

void Visit(Archive& a, Headroom& h) {
  a.Figure("layer", h.layer);
  VisitOp(a, "op", h.op);
  a.Figure("largest", h.range.largest);
  a.Figure("smallest", h.range.smallest);
  a.Figure("nonzero", h.range.nonzero);
  a.Figure("below_f16", h.range.below_f16);
  a.Figure("below_f32", h.range.below_f32);
}

void Visit(Archive& a, LargeScore& s) {
  a.Figure("layer", s.layer);
  a.Figure("head", s.head);
  a.Figure("position", s.position);
  a.Figure("key_position", s.key_position);
  a.Figure("score", s.score);
  a.Figure("weight", s.weight);
  VisitChoice(a, "format", s.format, 4);
}

void Visit(Archive& a, AttentionSink& s) {
  a.Figure("layer", s.layer);
  a.Figure("head", s.head);
  a.Figure("key_position", s.key_position);
  a.Figure("queries", s.queries);
  a.Figure("mean_weight", s.mean_weight);
}

void Visit(Archive& a, MovedWeight& m) {
  a.Figure("layer", m.layer);
  a.Figure("head", m.head);
  a.Figure("position", m.position);
  a.Figure("key_position", m.key_position);
  a.Figure("reference", m.reference);
  a.Figure("plan", m.plan);
}

void Visit(Archive& a, FlippedActivation& f) {
  a.Figure("channel", f.channel);
  a.Figure("position", f.position);
  a.Figure("born", f.born);
  a.Figure("in_plan", f.in_plan);
  a.Figure("value", f.value);
  a.Figure("value_layer", f.value_layer);
  a.Figure("other", f.other);
}

void Visit(Archive& a, NearTie& t) {
  a.Figure("position", t.position);
  VisitInteger(a, "token", t.token);
  VisitInteger(a, "rival", t.rival);
  a.Figure("margin", t.margin);
  a.Figure("error", t.error);
  a.Figure("flips", t.flips);
}

void Visit(Archive& a, Concentration& c) {
  a.Figure("layer", c.layer);
  a.Figure("channels", c.channels);
  a.Figure("channel", c.channel);
  a.Figure("top1", c.top1);
  a.Figure("top8", c.top8);
}

void Visit(Archive& a, Bias& b) {
  a.Figure("layer", b.layer);
  a.Figure("mean", b.mean);
  a.Figure("rms", b.rms);
  a.Figure("z", b.z);
  a.Figure("positive", b.positive);
  a.Figure("negative", b.negative);
  a.Figure("z_signs", b.z_signs);
}

void Visit(Archive& a, Breakdown& b) {
  a.Figure("layer", b.layer);
  VisitOp(a, "op", b.op);
  a.Figure("position", b.position);
  a.Figure("element", b.element);
  a.Figure("value", b.value);
}

void Visit(Archive& a, Phenomena& p) {
  a.Figure("positions", p.positions);
  VisitList(a, "massive", p.massive);
  VisitList(a, "cancellations", p.cancellations);
  VisitList(a, "headrooms", p.headrooms);
  VisitList(a, "large_scores", p.large_scores);
  VisitList(a, "sinks", p.sinks);
  VisitList(a, "concentrations", p.concentrations);
  VisitList(a, "biases", p.biases);
  VisitList(a, "moved_weights", p.moved_weights);
  VisitList(a, "flips", p.flips);
  VisitList(a, "near_ties", p.near_ties);
  // Named before there were other references.
  VisitPart(a, "oracle_breakdown", p.reference_breakdown);
  VisitPart(a, "plan_breakdown", p.plan_breakdown);
}

bool IsWhole(const Phenomena& p, size_t num_layers, size_t positions) {
  const auto in_model = [num_layers](const auto& parts) {
    return std::all_of(
        parts.begin(), parts.end(),
        [num_layers](const auto& part) { return part.layer <= num_layers; });
  };
  const auto lives = [num_layers](const MassiveChannel& m) {
    return m.born <= num_layers && m.removed <= num_layers &&
           m.value_layer <= num_layers;
  };
  const auto flips = [&](const FlippedActivation& f) {
    return f.position < positions && f.born <= num_layers &&
           f.value_layer <= num_layers;
  };
  return p.positions == positions && in_model(p.sinks) &&
         in_model(p.moved_weights) &&
         std::all_of(p.flips.begin(), p.flips.end(), flips) &&
         p.concentrations.size() == num_layers + 1 &&
         p.biases.size() == num_layers + 1 && in_model(p.cancellations) &&
         in_model(p.headrooms) && in_model(p.large_scores) &&
         in_model(p.concentrations) && in_model(p.biases) &&
         std::all_of(p.massive.begin(), p.massive.end(), lives);
}

}  // namespace ulpscope
