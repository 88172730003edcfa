#include "explorer/diagnosis/archived_diagnosis.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "explorer/attribution/archived_verdict.h"
#include "explorer/diagnosis/archived_description.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/archive.h"
#include "explorer/error/archived_metrics.h"
#include "model/architecture/op.h"
#include "model/files/content_hash.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {

void Visit(Archive& a, Alignment::Shift& s) {
  VisitInteger(a, "shift", s.shift);
  a.Figure("mismatch", s.mismatch);
  a.Figure("layers", s.layers);
}

void Visit(Archive& a, Alignment::LastState& s) {
  a.Figure("index", s.index);
  a.Figure("raw", s.raw);
  a.Figure("normed", s.normed);
}

void Visit(Archive& a, Alignment::Reading& r) {
  VisitInteger(a, "state_shift", r.state_shift);
  a.Figure("last_state_normed", r.last_state_normed);
}

void Visit(Archive& a, Alignment::OtherToken& t) {
  a.Figure("position", t.position);
  VisitInteger(a, "token", t.token);
  VisitInteger(a, "found", t.found);
}

void Visit(Archive& a, Alignment& m) {
  VisitInteger(a, "state_shift", m.state_shift);
  VisitList(a, "shifts", m.shifts);
  VisitChoice(a, "states_are", m.states_are, 3);
  a.Figure("as_stream", m.as_stream);
  a.Figure("as_they_are", m.as_they_are);
  a.Figure("last_state_normed", m.last_state_normed);
  VisitPart(a, "last_state", m.last_state);
  VisitList(a, "others", m.others);
  VisitList(a, "other_tokens", m.other_tokens);
}

void Visit(Archive& a, HeldBy& held_by) {
  VisitChoice(a, "format", held_by, 5);
}

void Visit(Archive& a, PointResult& p) {
  a.Figure("layer", p.layer);
  VisitOp(a, "op", p.op);
  a.Figure("name", p.name);
  a.Figure("stored_as", p.stored_as);
  VisitPart(a, "held_by", p.held_by);
  a.Figure("elements", p.elements);
  a.Figure("judged", p.judged);
  a.Figure("distance", p.distance);
  a.Figure("distance_with_causes", p.distance_with_causes);
  a.Figure("allowed", p.allowed);
  a.Figure("tolerance", p.tolerance);
  a.Figure("without_outstanding", p.without_outstanding);
  a.Figure("identical", p.identical);
  a.Figure("identical_with_causes", p.identical_with_causes);
  a.Figure("differs", p.differs);
  a.Figure("still_differs", p.still_differs);
  a.Figure("without_effect", p.without_effect);
  a.Figure("not_reproduced", p.not_reproduced);
  a.Figure("nonfinite", p.nonfinite);
  a.Figure("nan", p.nan);
  a.Figure("closest", p.closest);
}

void Visit(Archive& a, Arithmetic::Preset& p) {
  a.Figure("name", p.name);
  a.Figure("plan", p.plan);
  a.Figure("holds_values", p.holds_values);
  a.Figure("points_explained", p.points_explained);
  a.Figure("mean_log2_distance", p.mean_log2_distance);
}

void Visit(Archive& a, Arithmetic& m) {
  VisitList(a, "presets", m.presets);
  a.Figure("name", m.name);
  a.Figure("plan", m.plan);
  a.Figure("stored_rounded", m.stored_rounded);
  a.Figure("points_that_tell", m.points_that_tell);
  a.Figure("run_ratio", m.run_ratio);
  a.Figure("agrees_with_run", m.agrees_with_run);
}

void Visit(Archive& a, NonFinite& n) {
  a.Figure("first", n.first);
  a.Figure("points", n.points);
  a.Figure("elements", n.elements);
}

void Visit(Archive& a, StateDistance& s) {
  a.Figure("layer", s.layer);
  VisitOp(a, "op", s.op);
  a.Figure("normed", s.normed);
  a.Figure("elements", s.elements);
  a.Figure("trace_nonfinite", s.trace_nonfinite);
  a.Figure("ours_nonfinite", s.ours_nonfinite);
  a.Figure("trace_to_oracle", s.trace_to_oracle);
  a.Figure("ours_to_oracle", s.ours_to_oracle);
  a.Figure("trace_to_ours", s.trace_to_ours);
  a.Figure("emulation_to_oracle", s.emulation_to_oracle);
  a.Figure("trace_to_emulation", s.trace_to_emulation);
}

void Visit(Archive& a, Tried& t) {
  a.Figure("id", t.id);
  a.Figure("explained", t.explained);
  a.Figure("spoiled", t.spoiled);
  a.Figure("bits", t.bits);
  a.Figure("rows_moved", t.rows_moved);
  a.Figure("rows_hit", t.rows_hit);
  a.Figure("not_tried", t.not_tried);
}

void Visit(Archive& a, DiagnosedCause& c) {
  a.Figure("id", c.id);
  VisitChoice(a, "kind", c.kind, 5);
  a.Figure("what", c.what);
  a.Figure("advice", c.advice);
  a.Figure("first_layer", c.first_layer);
  VisitOp(a, "first_op", c.first_op);
  a.Figure("replay_without", c.replay_without);
  a.Figure("replay_with", c.replay_with);
  a.Figure("run_without", c.run_without);
  a.Figure("run_with", c.run_with);
  a.Figure("removed", c.removed);
  a.Figure("identical_without", c.identical_without);
  a.Figure("identical_with", c.identical_with);
  VisitList(a, "same_as", c.same_as);
  a.Figure("points", c.points);
  a.Figure("shows_inside", c.shows_inside);
  a.Figure("is_another_form", c.is_another_form);
}

void Visit(Archive& a, ErrorShares& s) {
  a.Figure("comparison", s.comparison);
  a.Figure("rounding", s.rounding);
  a.Figure("difference", s.difference);
  a.Figure("own", s.own);
  a.Figure("inherited", s.inherited);
  a.Figure("cancellation", s.cancellation);
}

void Visit(Archive& a, ErrorRow& r) {
  a.Figure("layer", r.layer);
  VisitPart(a, "error", r.error);
  VisitPart(a, "error_aligned", r.error_aligned);
  a.Figure("growth", r.growth);
  VisitPart(a, "shares", r.shares);
}

void Visit(Archive& a, Diagnosis& d) {
  VisitPart(a, "alignment", d.alignment);
  VisitPart(a, "arithmetic", d.arithmetic);
  VisitList(a, "states", d.states);
  VisitList(a, "points", d.points);
  VisitPart(a, "first_difference", d.first_difference);
  VisitPart(a, "first_unexplained", d.first_unexplained);
  VisitPart(a, "first_not_reproduced", d.first_not_reproduced);
  VisitPart(a, "first_without_effect", d.first_without_effect);
  VisitList(a, "tried", d.tried);
  VisitList(a, "causes", d.causes);
  VisitPart(a, "rounding", d.rounding);
  VisitList(a, "rows", d.rows);
  VisitPart(a, "trace_nonfinite", d.trace_nonfinite);
  VisitPart(a, "ours_nonfinite", d.ours_nonfinite);
  VisitPart(a, "trace_first_nonfinite", d.trace_first_nonfinite);
  VisitPart(a, "ours_first_nonfinite", d.ours_first_nonfinite);
  VisitPart(a, "finite_values", d.finite_values);
  VisitList(a, "descriptions", d.descriptions);
  VisitInteger(a, "nearer_to_oracle", d.nearer_to_oracle);
}

std::string FingerprintOf(const ReferenceTrace& trace) {
  std::string contents;
  const auto add = [&contents](const std::string& place,
                               const TracedTensor& tensor) {
    absl::StrAppend(&contents, place, " ", tensor.stored_as, " ",
                    tensor.first_position, " ", tensor.rows.rows(), " ",
                    ContentHash(tensor.rows.data(), tensor.rows.bytes()), " ",
                    tensor.name, "\n");
  };
  for (const auto& [at, tensor] : trace.outputs) {
    add(absl::StrCat("output ", at.first, " ", OpName(at.second)), tensor);
  }
  for (const auto& [at, tensor] : trace.scores) {
    add(absl::StrCat("scores ", at.first, " ", OpName(at.second)), tensor);
  }
  for (const auto& [index, tensor] : trace.states) {
    add(absl::StrCat("state ", index), tensor);
  }
  return ContentHash(contents);
}

bool IsWhole(const Diagnosis& d, size_t num_layers, size_t positions) {
  const auto in_model = [num_layers](const auto& parts) {
    return std::all_of(
        parts.begin(), parts.end(),
        [num_layers](const auto& part) { return part.layer <= num_layers; });
  };
  const auto is_point = [&d](const std::optional<size_t>& index) {
    return !index.has_value() || *index < d.points.size();
  };
  const auto begins = [&d](const std::optional<NonFinite>& nonfinite) {
    return !nonfinite.has_value() || nonfinite->first < d.points.size();
  };
  const auto in_trace = [positions](const Alignment::OtherToken& other) {
    return other.position < positions;
  };
  const auto described = [&](const PointDescription& description) {
    return description.point < d.points.size() &&
           IsInModel(description.origin, num_layers);
  };
  const auto begins_in_model = [&](const auto& first) {
    return !first.has_value() || IsInModel(first->origin, num_layers);
  };
  const Verdict* const rounding =
      d.rounding.has_value() ? &*d.rounding : nullptr;
  return in_model(d.states) && in_model(d.points) && in_model(d.rows) &&
         is_point(d.first_difference) && is_point(d.first_unexplained) &&
         is_point(d.first_not_reproduced) && is_point(d.first_without_effect) &&
         begins(d.trace_nonfinite) && begins(d.ours_nonfinite) &&
         std::all_of(d.descriptions.begin(), d.descriptions.end(), described) &&
         begins_in_model(d.trace_first_nonfinite) &&
         begins_in_model(d.ours_first_nonfinite) &&
         std::all_of(d.alignment.other_tokens.begin(),
                     d.alignment.other_tokens.end(), in_trace) &&
         (rounding == nullptr ||
          (rounding->rel_l2.has_value() &&
           rounding->logits_rel_l2.has_value() && rounding->kl.has_value()));
}

}  // namespace ulpscope
