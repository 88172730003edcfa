#include "explorer/report/diagnosis_results.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/causes.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/metrics.h"
#include "explorer/report/description_tables.h"
#include "explorer/report/diagnosis_figures.h"
#include "explorer/report/diagnosis_text.h"
#include "explorer/report/error_fields.h"
#include "explorer/report/frame.h"
#include "explorer/report/verdict_tables.h"
#include "explorer/results/schema.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

constexpr Unit kNone = Unit::kNone;
constexpr Unit kRelative = Unit::kRelative;
constexpr Unit kShare = Unit::kShare;

// A share of a row that is not worth a word.
constexpr double kSmallShare = 0.01;

// A diagnosis with what follows from it.
struct Whole {
  const Diagnosis& d;
  DiagnosisFigures figures;
};

// How many of something there are.
using Count = std::pair<std::string, size_t>;

// The origins of a row's squared error that are worth a word, the largest
// first.
std::string ComesFrom(const ErrorRow& row) {
  if (!row.shares.has_value() || row.error.max_abs == 0) return "-";
  const ErrorShares& s = *row.shares;
  std::vector<std::pair<const char*, double>> parts = {
      {"comparison", s.comparison}, {"rounding of the trace", s.rounding},
      {"difference", s.difference}, {"rounding of ours", s.own},
      {"inherited", s.inherited},   {"cancellation", s.cancellation}};
  parts.erase(std::remove_if(parts.begin(), parts.end(),
                             [](const auto& part) {
                               return std::fabs(part.second) < kSmallShare;
                             }),
              parts.end());
  if (parts.empty()) return "-";
  std::stable_sort(
      parts.begin(), parts.end(),
      [](const auto& a, const auto& b) { return a.second > b.second; });
  return absl::StrJoin(parts, ", ", [](std::string* out, const auto& part) {
    absl::StrAppendFormat(out, "%s %.0f %%", part.first, 100 * part.second);
  });
}

Fields<Whole> DiagnosisFields() {
  using W = Whole;
  Fields<Whole> fields = {
      {"outcome", "", kNone,
       "\"no_difference\", \"differs\", \"rounds_elsewhere\", "
       "\"unexplained\", \"nothing_measured\" or \"stopped\" (before anything "
       "was found).",
       [](const W& w) { return OutcomeName(w.figures.outcome); }},
      {"explained", "", kNone, "Whether the causes explain every point.",
       [](const W& w) { return w.d.explained(); }},
      {"differs", "", kNone, "Whether a cause is of the trace's program.",
       [](const W& w) { return w.d.differs(); }},
      {"state_shift", "", kNone,
       "hidden_states[n] is the stream after layer n + this.",
       [](const W& w) { return w.d.alignment.state_shift; }},
      {"last_state_is_normed", "", kNone,
       "Whether the last state is after the final norm.",
       [](const W& w) { return w.d.alignment.last_state_normed; }}};
  using L = Alignment::LastState;
  const Fields<L> last_state = {
      {"index", "", kNone, "The last state's.", &L::index},
      {"raw", "", kRelative, "Its distance from a replay without the norm.",
       &L::raw},
      {"normed", "", kRelative, "The same with it.", &L::normed}};
  AppendPart(fields, "last_state_", last_state, true, [](const W& w) {
    const auto& last = w.d.alignment.last_state;
    return last.has_value() ? &*last : nullptr;
  });
  const Fields<Arithmetic> arithmetic = {
      {"name", "", kNone, "The preset that the trace was computed in.",
       &Arithmetic::name},
      {"plan", "", kNone, "Its plan, with the causes that are of a plan.",
       &Arithmetic::plan},
      {"stored_rounded", "", kNone,
       "Whether the values were rounded when they were stored.",
       &Arithmetic::stored_rounded},
      {"points_that_tell", "", kNone,
       "Points that tell what it is; if there are none it is not known.",
       &Arithmetic::points_that_tell},
      {"run_ratio", "", Unit::kRatio,
       "Distance of the trace from the oracle by that of a run of it, with all "
       "causes: the geometric mean over states and logits.",
       &Arithmetic::run_ratio},
      {"agrees_with_run", "", kNone,
       "Whether the trace may have been computed so as a whole.",
       &Arithmetic::agrees_with_run}};
  AppendPart(fields, "arithmetic_", arithmetic, false,
             [](const W& w) { return &w.d.arithmetic; });
  fields.emplace_back(
      "nearer_to_oracle", "", kNone,
      "\"trace\" or \"ours\", if it is at most half as far away at most "
      "states; null if neither is.",
      [](const W& w) {
        const int nearer = w.d.nearer_to_oracle;
        return nearer == 0
                   ? std::nullopt
                   : std::optional<std::string>(nearer > 0 ? "trace" : "ours");
      });
  const Fields<DiagnosisFigures> figures = {
      {"states_nearer_trace", "", kNone, "States at which the trace is nearer.",
       &DiagnosisFigures::nearer_trace},
      {"states_nearer_ours", "", kNone, "States at which ours is nearer.",
       &DiagnosisFigures::nearer_ours},
      {"states_not_finite", "", kNone,
       "States at which something is not finite.",
       &DiagnosisFigures::states_not_finite},
      {"points_differing", "", kNone, "Points that rounding does not explain.",
       &DiagnosisFigures::differing},
      {"points_still_differing", "", kNone, "The same with all causes.",
       &DiagnosisFigures::still_differing},
      {"points_not_reproduced", "", kNone,
       "Points within rounding, but not bit for bit as the others.",
       &DiagnosisFigures::not_reproduced},
      {"points_not_judged", "", kNone,
       "Points that are not finite, behind others that are not.",
       &DiagnosisFigures::not_judged},
      {"growth_average", "", Unit::kRatio,
       "Arithmetic mean of the error table's growths.",
       &DiagnosisFigures::average_growth},
      {"growth_geometric_mean", "", Unit::kRatio, "Their geometric mean.",
       &DiagnosisFigures::mean_growth},
      {"growth_total", "", Unit::kRatio,
       "The last row's mean absolute error by the first one's.",
       &DiagnosisFigures::total_growth}};
  AppendPart(fields, "", figures, false, [](const W& w) { return &w.figures; });
  const auto first = [&fields](const char* name, const char* about,
                               std::optional<size_t> Diagnosis::*index) {
    fields.emplace_back(name, "", kNone, about,
                        [index](const W& w) { return w.d.*index; });
  };
  first("first_difference", "Index of the first point that differs.",
        &Diagnosis::first_difference);
  first("first_unexplained", "The same with all causes.",
        &Diagnosis::first_unexplained);
  first("first_not_reproduced", "Index of the first that is not reproduced.",
        &Diagnosis::first_not_reproduced);
  first("first_without_effect",
        "Instead of first_unexplained, where the results are right.",
        &Diagnosis::first_without_effect);
  const Fields<NonFinite> nonfinite = {
      {"first", "", kNone, "Index of the first point with such values.",
       &NonFinite::first},
      {"points", "", kNone, "Points with values that are infinite or NaN.",
       &NonFinite::points},
      {"elements", "", kNone, "These values.", &NonFinite::elements}};
  const auto part = [](std::optional<NonFinite> Diagnosis::*of) {
    return [of](const W& w) { return (w.d.*of) ? &*(w.d.*of) : nullptr; };
  };
  AppendPart(fields, "trace_not_finite_", nonfinite, true,
             part(&Diagnosis::trace_nonfinite));
  AppendPart(fields, "ours_not_finite_", nonfinite, true,
             part(&Diagnosis::ours_nonfinite));
  return fields;
}

Fields<DiagnosedCause> CauseFields() {
  using C = DiagnosedCause;
  return {
      {"id", "Cause", kNone, "Its name in the catalogue.", &C::id},
      {"kind", "Kind", kNone,
       "\"comparison\", \"implementation\", \"arithmetic\", \"rounding\", or "
       "\"equivalent\": another way to the same results.",
       [](const C& c) { return CauseKindName(c.kind); }},
      {"what", "", kNone, "What it is.", &C::what},
      {"advice", "", kNone, "What to change.", &C::advice},
      {"first_layer", "Layer", kNone, "Of the first point that it concerns.",
       &C::first_layer},
      {"first_op", "Op", kNone, "The same.",
       [](const C& c) { return OpName(c.first_op); }},
      {"points", "Points", kNone, "That it concerns.", &C::points},
      {"confirmed_by", "Confirmed by", kNone,
       "Of the trace's program: \"replay\" and \"run\".",
       [](const C& c) { return ConfirmationOf(c).by; }},
      {"replay_without", "Replay without", kRelative,
       "Distance of a replay without the cause: of the trace's program by what "
       "rounding allows.",
       &C::replay_without},
      {"replay_with", "Replay with", kRelative, "The same with it.",
       &C::replay_with},
      {"run_without", "Run without", kRelative,
       "Distance of a run from the tokens without the cause.", &C::run_without},
      {"run_with", "Run with", kRelative, "The same with it.", &C::run_with},
      {"removed", "Takes away", kShare,
       "Of that run's squared distance, by the cause.", &C::removed},
      {"identical_without", "Same bits without", kShare,
       "Elements of the points concerned with the replay's bits.",
       &C::identical_without},
      {"identical_with", "Same bits with", kShare, "The same with the cause.",
       &C::identical_with},
      {"same_as", "", kNone, "Others that no point tells from it.",
       &C::same_as}};
}

Fields<ErrorRow> RowFields() {
  using R = ErrorRow;
  Fields<ErrorRow> fields = {
      {"layer", "Layers", kNone, "After which the states are.", &R::layer}};
  AppendPart(fields, "", ErrorMetricsFields(), false,
             [](const R& row) { return &row.error; });
  fields.emplace_back("growth", "Growth Rate", Unit::kRatio,
                      "Of the mean absolute error, by the row's before.",
                      &R::growth);
  fields.emplace_back(
      "status", "Status", kNone, "The seed report's verdict on mean_abs.",
      [](const R& row) { return StatusOf(row.error.mean_abs); });
  fields.emplace_back("comes_from", "Comes from", kNone,
                      "The largest shares, in words.", ComesFrom);
  AppendPart(fields, "aligned_", ErrorMetricsFields(), false,
             [](const R& row) { return &row.error_aligned; });
  using S = ErrorShares;
  const Fields<ErrorShares> shares = {
      {"comparison", "", kShare, "Of comparing what is not the same.",
       &S::comparison},
      {"rounding", "", kShare, "Of the trace's rounding in the layer.",
       &S::rounding},
      {"difference", "", kShare, "Of a difference beyond that.",
       &S::difference},
      {"own", "", kShare, "Of our plan's error in the layer.", &S::own},
      {"inherited", "", kShare, "Of what the layer inherits.", &S::inherited},
      {"cancellation", "", kShare,
       "Of what it inherits and a cancellation exposes.", &S::cancellation}};
  AppendPart(fields, "share_", shares, true, [](const R& row) {
    return row.shares.has_value() ? &*row.shares : nullptr;
  });
  return fields;
}

Fields<StateDistance> StateFields() {
  using S = StateDistance;
  return {{"layer", "After layer", kNone, "0 is the embedding.", &S::layer},
          {"op", "Op", kNone, "Whose output it is.",
           [](const S& s) { return OpName(s.op); }},
          {"normed", "Final norm", kNone, "Whether it is after the final norm.",
           &S::normed},
          {"elements", "", kNone, "That are compared.", &S::elements},
          {"trace_not_finite", "", kNone,
           "Of these, where the trace is not finite and the oracle is.",
           &S::trace_nonfinite},
          {"ours_not_finite", "", kNone,
           "Of these, where ours is not finite and the oracle is.",
           &S::ours_nonfinite},
          {"trace_to_oracle", "Trace to oracle", kRelative,
           "L2 distance by the trace's norm, where the trace is finite; NaN if "
           "it is nowhere.",
           &S::trace_to_oracle},
          {"ours_to_oracle", "Ours to oracle", kRelative, "The same.",
           &S::ours_to_oracle},
          {"trace_to_ours", "Trace to ours", kRelative, "The same.",
           &S::trace_to_ours},
          {"emulation_to_oracle", "Emulation to oracle", kRelative,
           "The same of a run of the trace's arithmetic, with all causes.",
           &S::emulation_to_oracle},
          {"trace_to_emulation", "Trace to emulation", kRelative, "The same.",
           &S::trace_to_emulation},
          {"nearer", "Nearer", kNone, "\"trace\", \"ours\", or null.",
           [](const S& s) {
             const int nearer = NearerAt(s);
             return nearer == 0 ? std::nullopt
                                : std::optional<std::string>(
                                      nearer > 0 ? "trace" : "ours");
           }}};
}

Fields<PointResult> PointFields() {
  using P = PointResult;
  return {
      {"layer", "Layer", kNone, "0 for ops in no layer.", &P::layer},
      {"op", "Op", kNone, "Whose output it is.",
       [](const P& p) { return OpName(p.op); }},
      {"name", "", kNone, "The tensor's in the trace.",
       [](const P& p) { return Printable(p.name); }},
      {"stored_as", "Stored", kNone, "The tensor's type.", &P::stored_as},
      {"held_by", "Fits", kNone,
       "The coarsest format that holds its finite values.",
       [](const P& p) {
         return p.held_by.has_value()
                    ? std::optional<absl::string_view>(HeldByName(*p.held_by))
                    : std::nullopt;
       }},
      {"elements", "", kNone, "That are compared.", &P::elements},
      {"nonfinite", "Not finite", kNone, "Elements of the trace.",
       &P::nonfinite},
      {"nan", "", kNone, "Of these, NaN.", &P::nan},
      {"judged", "", kNone,
       "False behind others that are not finite, if it is not either.",
       &P::judged},
      {"distance", "Distance", kRelative,
       "Of the trace from a replay of its arithmetic; infinite where only one "
       "of the two is finite.",
       &P::distance},
      {"allowed", "Allowed", kRelative, "What rounding explains of it.",
       &P::allowed},
      {"tolerance", "", Unit::kRatio, "Of that, by the replay's own rounding.",
       &P::tolerance},
      {"distance_with_causes", "With causes", kRelative,
       "The distance from a replay with all causes.", &P::distance_with_causes},
      {"identical", "Same bits", kShare, "Elements with the replay's bits.",
       &P::identical},
      {"identical_with_causes", "", kShare, "The same with all causes.",
       &P::identical_with_causes},
      {"without_outstanding", "", kNone,
       "Whether these are of elements that do not stand out from their rows.",
       &P::without_outstanding},
      {"closest", "Nearest", kNone, "The preset whose replay is nearest.",
       &P::closest},
      {"differs", "", kNone, "Whether the distance is more than allowed.",
       &P::differs},
      {"still_differs", "", kNone, "The same with all causes.",
       &P::still_differs},
      {"without_effect", "", kNone,
       "Whether it does, and the trace's results are right.",
       &P::without_effect},
      {"not_reproduced", "", kNone,
       "Whether it is within rounding, but not bit for bit as the others.",
       &P::not_reproduced},
      {"status", "", kNone, "The same in words.",
       [](const P& p) { return StatusOf(p); }}};
}

Fields<Tried> HypothesisFields() {
  const auto if_tried = [](auto member) {
    return [member](const Tried& t) {
      using T = std::decay_t<decltype(t.*member)>;
      return t.not_tried.empty() ? std::optional<T>(t.*member) : std::nullopt;
    };
  };
  using T = Tried;
  return {{"id", "Hypothesis", kNone, "Its name in the catalogue.", &T::id},
          {"explained", "Explains", kNone, "Points that it explains.",
           if_tried(&T::explained)},
          {"spoiled", "Spoils", kNone, "Points that it takes away.",
           if_tried(&T::spoiled)},
          {"bits", "Bits", Unit::kBits,
           "Sum over points of log2(distance without it / with it).",
           if_tried(&T::bits)},
          {"rows_moved", "Rows moved", kNone,
           "Rows of points within rounding that it moves.",
           if_tried(&T::rows_moved)},
          {"rows_hit", "Hit", kNone, "Of these, that become the trace's bits.",
           if_tried(&T::rows_hit)},
          {"not_tried", "", kNone, "Why it was not tried.", [](const T& t) {
             return t.not_tried.empty()
                        ? std::nullopt
                        : std::optional<std::string>(t.not_tried);
           }}};
}

Fields<Arithmetic::Preset> PresetFields(const DiagnosisFigures& figures) {
  using P = Arithmetic::Preset;
  return {
      {"name", "Preset", kNone, "Its name.", &P::name},
      {"plan", "", kNone, "Its plan.", &P::plan},
      {"holds_values", "Holds the values", kNone,
       "Whether its results can hold most points' values.", &P::holds_values},
      {"points_explained", "Points explained", kNone, "By its replay.",
       &P::points_explained},
      {"points_closest", "Points nearest", kNone,
       "To which its replay is the nearest.",
       [closest = figures.closest](const P& p) {
         const auto found =
             std::find_if(closest.begin(), closest.end(),
                          [&](const Count& c) { return c.first == p.name; });
         return found == closest.end() ? size_t{0} : found->second;
       }},
      {"mean_log2_distance", "Mean log2 distance", Unit::kBits,
       "Over points, relative.", &P::mean_log2_distance}};
}

}  // namespace

Results DiagnosisResults(const RunInfo& info, absl::string_view reference,
                         const Diagnosis& d) {
  const Whole whole = {d, FiguresOf(d)};
  Table context = ContextTable(info, d.stopped_in);
  AddValue(context, "reference", kNone, "The trace's path.",
           std::string(reference));
  AddValue(context, "plan", kNone, "Ours.", d.plan);
  AddValue(context, "tokens", kNone, "That were run.", d.tokens);
  AddValue(context, "samples", kNone, "Positions that errors are over.",
           d.tokens.size());
  AddValue(context, "tokens_are_traces", kNone,
           "Whether they are the trace's own.", d.tokens_are_traces);
  using S = Alignment::Shift;
  using O = Alignment::OtherToken;
  using N = ReferenceTrace::NotMeasured;
  Results results = {
      "diagnose",
      {std::move(context), SentencesTable(Sentences(d)),
       MakeSingle("diagnosis", "What the diagnosis comes to.",
                  DiagnosisFields(), &whole),
       MakeTable("causes", "Why the trace differs, in the order of layers.",
                 CauseFields(), d.causes),
       MakeTable("error_table",
                 "Our plan's states minus the trace's, as it was given; "
                 "aligned_ of the things that belong together.",
                 RowFields(), d.rows),
       MakeTable("states", "Runs from the tokens on, as far as the trace goes.",
                 StateFields(), d.states),
       MakeTable("presets", "Arithmetics that were tried, the likeliest first.",
                 PresetFields(whole.figures), d.arithmetic.presets),
       MakeTable("points",
                 "Outputs of ops against replays from the trace's own values, "
                 "as they run.",
                 PointFields(), d.points),
       MakeTable("hypotheses", "What was tried, the best first.",
                 HypothesisFields(), d.tried),
       MakeTable("shifts", "Readings of the list of states.",
                 Fields<S>{{"shift", "Shift", kNone,
                            "State n is after layer n + this.", &S::shift},
                           {"mismatch", "Mismatch", kRelative,
                            "Median over states of the distance from a replay, "
                            "by the layer's update.",
                            &S::mismatch},
                           {"layers", "States", kNone,
                            "That it was measured on.", &S::layers}},
                 d.alignment.shifts),
       MakeTable(
           "other_tokens", "Embeddings that are not their tokens'.",
           Fields<O>{
               {"position", "Position", kNone, "Its position.", &O::position},
               {"token", "Token", kNone, "That was run.", &O::token},
               {"found", "Found", kNone,
                "Whose embedding it is; null if of none.",
                [](const O& o) {
                  return o.found < 0 ? std::nullopt
                                     : std::optional<int32_t>(o.found);
                }}},
           d.alignment.other_tokens),
       MakeTable(
           "formats",
           "The coarsest formats that hold the points' finite values.",
           Fields<Count>{
               {"format", "Format", kNone, "Its name.", &Count::first},
               {"points", "Points", kNone, "Held by it.", &Count::second}},
           whole.figures.held_by),
       MakeTable("not_measured", "Tensors that could not be used.",
                 Fields<N>{{"name", "Tensor", kNone, "Its name.",
                            [](const N& n) { return Printable(n.name); }},
                           {"reason", "Why", kNone, "Why it was not.",
                            [](const N& n) { return Printable(n.reason); }}},
                 d.not_measured)}};
  for (Table& table : DescriptionTables(d)) {
    results.tables.push_back(std::move(table));
  }
  for (Table& table :
       VerdictTables(d.rounding.has_value() ? &*d.rounding : nullptr)) {
    results.tables.push_back(std::move(table));
  }
  return results;
}

}  // namespace ulpscope
