#include "explorer/report/diagnosis_json.h"

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/metrics.h"
#include "explorer/report/attribution_json.h"
#include "explorer/report/diagnosis_figures.h"
#include "explorer/report/diagnosis_text.h"
#include "explorer/report/error_table.h"
#include "explorer/report/run_info.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

Json AlignmentJson(const Alignment& a) {
  Json json = {{"state_shift", a.state_shift},
               {"shifts", ArrayOf(a.shifts,
                                  [](const Alignment::Shift& s) {
                                    return Json{{"shift", s.shift},
                                                {"mismatch", s.mismatch},
                                                {"layers", s.layers}};
                                  })},
               {"last_state_normed", a.last_state_normed}};
  if (a.last_state.has_value()) {
    json["last_state"] = {{"index", a.last_state->index},
                          {"raw", a.last_state->raw},
                          {"normed", a.last_state->normed}};
  }
  json["other_tokens"] =
      ArrayOf(a.other_tokens, [](const Alignment::OtherToken& other) {
        return Json{{"position", other.position},
                    {"token", other.token},
                    {"found", other.found < 0 ? Json() : Json(other.found)}};
      });
  return json;
}

Json CountsJson(const std::vector<std::pair<std::string, size_t>>& counts) {
  Json json = Json::object();
  for (const auto& [name, count] : counts) json[name] = count;
  return json;
}

Json ArithmeticJson(const Arithmetic& a, const DiagnosisFigures& figures) {
  return {{"name", a.name},
          {"plan", a.plan},
          {"stored_rounded", a.stored_rounded},
          {"points_held_by", CountsJson(figures.held_by)},
          {"points_closest", CountsJson(figures.closest)},
          {"presets", ArrayOf(a.presets, [](const Arithmetic::Preset& p) {
             return Json{{"name", p.name},
                         {"plan", p.plan},
                         {"holds_values", p.holds_values},
                         {"points_explained", p.points_explained},
                         {"mean_log2_distance", p.mean_log2_distance}};
           })}};
}

Json StateJson(const StateDistance& s) {
  return {{"layer", s.layer},
          {"normed", s.normed},
          {"trace_to_oracle", s.trace_to_oracle},
          {"ours_to_oracle", s.ours_to_oracle},
          {"trace_to_ours", s.trace_to_ours},
          {"emulation_to_oracle", s.emulation_to_oracle},
          {"trace_to_emulation", s.trace_to_emulation}};
}

Json PointJson(const PointResult& p) {
  return {{"layer", p.layer},
          {"op", Name(p.op)},
          {"name", p.name},
          {"stored_as", p.stored_as},
          {"held_by", std::string(HeldByName(p.held_by))},
          {"elements", p.elements},
          {"distance", p.distance},
          {"distance_with_causes", p.distance_with_causes},
          {"allowed", p.allowed},
          {"tolerance", p.tolerance},
          {"identical", p.identical},
          {"identical_with_causes", p.identical_with_causes},
          {"differs", p.differs},
          {"still_differs", p.still_differs},
          {"not_reproduced", p.not_reproduced},
          {"without_outstanding", p.without_outstanding},
          {"nonfinite", p.nonfinite},
          {"closest", p.closest}};
}

Json CauseJson(const DiagnosedCause& c) {
  return {{"id", c.id},
          {"kind", std::string(CauseKindName(c.kind))},
          {"what", c.what},
          {"advice", c.advice},
          {"first_layer", c.first_layer},
          {"first_op", Name(c.first_op)},
          {"points", c.points},
          {"replay_without", c.replay_without},
          {"replay_with", c.replay_with},
          {"run_without", c.run_without},
          {"run_with", c.run_with},
          {"removed", c.removed},
          {"identical_without", c.identical_without},
          {"identical_with", c.identical_with},
          {"same_as", c.same_as}};
}

Json TriedJson(const Tried& t) {
  Json json = {{"id", t.id}};
  if (!t.not_tried.empty()) {
    json["not_tried"] = t.not_tried;
    return json;
  }
  json.update(Json{{"explained", t.explained},
                   {"spoiled", t.spoiled},
                   {"bits", t.bits},
                   {"rows_moved", t.rows_moved},
                   {"rows_hit", t.rows_hit}});
  return json;
}

Json RowJson(const ErrorRow& row) {
  return {{"layer", row.layer},
          {"error", ErrorMetricsJson(row.error)},
          {"error_aligned", ErrorMetricsJson(row.error_aligned)},
          {"growth", row.growth},
          {"status", StatusOf(row.error.mean_abs)},
          {"shares",
           {{"comparison", row.comparison},
            {"rounding", row.rounding},
            {"difference", row.difference},
            {"own", row.own},
            {"inherited", row.inherited},
            {"cancellation", row.cancellation}}}};
}

// A point by where it is; null for none.
Json PlaceJson(const Diagnosis& d, const std::optional<size_t>& index) {
  if (!index.has_value()) return Json();
  const PointResult& point = d.points[*index];
  return {{"index", *index}, {"layer", point.layer}, {"op", Name(point.op)}};
}

Json ResultsJson(const RunInfo& info, absl::string_view reference,
                 const Diagnosis& d) {
  const DiagnosisFigures figures = FiguresOf(d);
  return {
      {"model", info.model},
      {"synthetic", info.synthetic},
      {"reference", std::string(reference)},
      {"plan", d.plan},
      {"tokens", d.tokens},
      {"tokens_are_traces", d.tokens_are_traces},
      {"positions", d.positions},
      {"num_layers", d.num_layers},
      {"stopped_by", d.stopped_in.empty() ? "" : info.stopped_by},
      {"stopped_in", d.stopped_in},
      {"explained", d.explained()},
      {"differs", d.differs()},
      {"sentences", Sentences(d)},
      {"alignment", AlignmentJson(d.alignment)},
      {"arithmetic", ArithmeticJson(d.arithmetic, figures)},
      {"nearer_to_oracle", d.nearer_to_oracle > 0   ? "trace"
                           : d.nearer_to_oracle < 0 ? "ours"
                                                    : ""},
      {"states_nearer",
       {{"trace", figures.nearer_trace}, {"ours", figures.nearer_ours}}},
      {"states", ArrayOf(d.states, StateJson)},
      {"points_differing", figures.differing},
      {"points_still_differing", figures.still_differing},
      {"points_not_reproduced", figures.not_reproduced},
      {"nonfinite_elements", figures.nonfinite},
      {"first_difference", PlaceJson(d, d.first_difference)},
      {"first_unexplained", PlaceJson(d, d.first_unexplained)},
      {"first_not_reproduced", PlaceJson(d, d.first_not_reproduced)},
      {"causes", ArrayOf(d.causes, CauseJson)},
      {"rounding",
       d.rounding.has_value() ? VerdictJson(*d.rounding, nullptr) : Json()},
      {"error_table", ArrayOf(d.rows, RowJson)},
      {"growth",
       {{"average", figures.average_growth},
        {"geometric_mean", figures.mean_growth},
        {"total", figures.total_growth}}},
      {"points", ArrayOf(d.points, PointJson)},
      {"hypotheses", ArrayOf(d.tried, TriedJson)},
      {"not_measured",
       ArrayOf(d.not_measured, [](const ReferenceTrace::NotMeasured& missing) {
         return Json{{"name", missing.name}, {"reason", missing.reason}};
       })}};
}

}  // namespace

std::string DiagnosisJson(const RunInfo& info, absl::string_view reference,
                          const Diagnosis& diagnosis) {
  Json context = ModelJson(info);
  context.update(Json{
      {"cpu", info.cpu}, {"target", info.target}, {"threads", info.threads}});
  return JsonText({{"context", context},
                   {"diagnosis", ResultsJson(info, reference, diagnosis)}});
}

}  // namespace ulpscope
