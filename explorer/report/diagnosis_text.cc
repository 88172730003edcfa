#include "explorer/report/diagnosis_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "explorer/diagnosis/causes.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/description_text.h"
#include "explorer/report/diagnosis_figures.h"
#include "explorer/report/figures.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

std::string Plural(size_t n, absl::string_view noun) {
  return absl::StrCat(n, " ", noun, n == 1 ? "" : "s");
}

std::string Quoted(const std::vector<std::string>& ids) {
  return absl::StrCat("`", absl::StrJoin(ids, "`, `"), "`");
}

// "rope in layer 3", "lm_head".
std::string Place(size_t layer, Op op) {
  return IsPerLayer(op) ? absl::StrCat(OpName(op), " in layer ", layer)
                        : std::string(OpName(op));
}

std::string PlaceOf(const PointResult& point) {
  return Place(point.layer, point.op);
}

// Causes that are of the trace's program, or that are not.
std::vector<std::string> Ids(const Diagnosis& d, bool of_program) {
  std::vector<std::string> ids;
  for (const DiagnosedCause& cause : d.causes) {
    if (IsOfProgram(cause) == of_program) ids.push_back(cause.id);
  }
  return ids;
}

// Where it is, if the point may have it from ops that are not traced.
std::string OriginText(const Diagnosis& d, size_t point) {
  for (const PointDescription& description : d.descriptions) {
    if (description.point == point && !description.origin.unseen.empty()) {
      return absl::StrCat(" (", PlaceText(description.origin), ")");
    }
  }
  return "";
}

std::string Unexplained(const Diagnosis& d) {
  const PointResult& point = d.points[*d.first_unexplained];
  const auto figure = [](const std::optional<double>& x) {
    return x.has_value() ? Number(*x) : "-";
  };
  return absl::StrFormat(
      "%s: first differs at op %s%s: distance %s, allowed %s.",
      d.stopped_in.empty() ? "Unexplained" : "Unexplained when it was stopped",
      PlaceOf(point), OriginText(d, *d.first_unexplained),
      figure(d.causes.empty() ? point.distance : point.distance_with_causes),
      figure(point.allowed));
}

std::string Verdict(const Diagnosis& d, Outcome outcome) {
  const std::string left =
      d.explained() ? "" : absl::StrCat(" That is not all. ", Unexplained(d));
  switch (outcome) {
    case Outcome::kDiffers:
      return absl::StrCat("The trace's program differs from the model by ",
                          Quoted(Ids(d, true)), ".", left);
    case Outcome::kRoundsElsewhere:
      return absl::StrCat("The trace's program rounds elsewhere: ",
                          Quoted(Ids(d, true)), ".", left);
    case Outcome::kUnexplained:
      return Unexplained(d);
    case Outcome::kNothingMeasured:
      return "Nothing is known: no output of the trace was measured.";
    case Outcome::kStopped:
      return d.points.empty()
                 ? "Nothing is known yet."
                 : "No implementation difference was found until it was "
                   "stopped, which does not say that there is none.";
    case Outcome::kUnknownArithmetic:
      return absl::StrFormat(
          "No point differs beyond what `%s` explains, but the trace was not "
          "computed in it: it is %s times as far from the oracle as a run of "
          "it.",
          d.arithmetic.name, Number(d.arithmetic.run_ratio.value_or(NAN)));
    case Outcome::kNoDifference:
      break;
  }
  if (d.first_without_effect.has_value()) {
    return absl::StrCat(
        "No implementation difference that matters: something is computed "
        "another way, first ",
        PlaceOf(d.points[*d.first_without_effect]),
        ", but the results are as near the oracle as `", d.arithmetic.name,
        "` allows.");
  }
  return absl::StrCat(
      "No implementation difference: everything in the trace is what `",
      d.arithmetic.name, "` explains.",
      !d.first_not_reproduced.has_value()
          ? ""
          : absl::StrCat(" But not all of it bit for bit: first ",
                         PlaceOf(d.points[*d.first_not_reproduced]), "."));
}

std::string Headline(const Diagnosis& d, Outcome outcome) {
  std::string text;
  if (d.trace_nonfinite.has_value()) {
    text = absl::StrCat("The trace is not finite from ",
                        PlaceOf(d.points[d.trace_nonfinite->first]), " on. ");
  }
  absl::StrAppend(&text, Verdict(d, outcome));
  const std::vector<std::string> others = Ids(d, false);
  if (!others.empty()) {
    absl::StrAppend(&text, " What the error table shows comes from ",
                    Quoted(others), Ids(d, true).empty() ? "." : " too.");
  }
  return text;
}

std::string AlignmentSentence(const Diagnosis& d) {
  const Alignment& a = d.alignment;
  std::string text = absl::StrFormat(
      "Alignment: %s and %s, with the %s tokens.",
      Plural(d.positions, "position"), Plural(d.num_layers, "layer"),
      d.tokens_are_traces ? "trace's own" : "given");
  if (a.state_shift != 0) {
    absl::StrAppendFormat(
        &text, " hidden_states[n] is the stream after layer n %c %d.",
        a.state_shift > 0 ? '+' : '-', std::abs(a.state_shift));
  }
  if (a.last_state.has_value() && !std::isnan(a.last_state->raw)) {
    absl::StrAppend(&text, " State ", a.last_state->index,
                    a.last_state_normed ? " is the one after the final norm."
                                        : " is before the final norm.");
  }
  if (!a.other_tokens.empty()) {
    absl::StrAppend(&text,
                    " The trace's embedding is not that of its tokens at ",
                    Plural(a.other_tokens.size(), "position"), ", first ",
                    a.other_tokens.front().position, ".");
  }
  return text;
}

std::string WhoIsRight(const Diagnosis& d, const DiagnosisFigures& figures) {
  // The embedding says nothing of who computes better.
  size_t known = 0, elements = 0, not_finite = 0;
  bool of_states = true;
  for (const StateDistance& s : d.states) {
    if (s.op == Op::kEmbed) continue;
    known += std::isfinite(s.trace_to_oracle) || s.trace_nonfinite > 0;
    elements += s.elements;
    not_finite += s.trace_nonfinite;
    of_states = of_states && (s.op == Op::kMlpResidual || s.normed);
  }
  if (known == 0) {
    return "Who is right: not known, as nothing that the oracle has finite was "
           "measured.";
  }
  const absl::string_view what = of_states ? "state" : "output";
  std::string text = absl::StrCat(
      "Who is right: ",
      d.nearer_to_oracle < 0
          ? absl::StrCat("ours (`", d.plan, "`) is the more accurate one")
      : d.nearer_to_oracle > 0
          ? "the trace is the more accurate one"
          : absl::StrCat("neither is twice as accurate at most ", what, "s"),
      ". Of ", Plural(d.states.size(), what),
      ", ours is nearer to the f64 oracle at ", figures.nearer_ours,
      ", the trace at ", figures.nearer_trace, ".");
  if (not_finite > 0) {
    absl::StrAppendFormat(
        &text, " %.3g %% of the trace's values there are not finite.",
        100 * static_cast<double>(not_finite) / static_cast<double>(elements));
  }
  if (d.nearer_to_oracle < 0 && d.explained() && !d.differs() &&
      d.arithmetic.agrees_with_run && d.stopped_in.empty() &&
      !d.trace_nonfinite.has_value()) {
    absl::StrAppend(&text,
                    " The two disagree because the trace rounds; ours needs no "
                    "change.");
  }
  return text;
}

std::string FirstDifference(const Diagnosis& d, size_t differing) {
  return absl::StrCat(
      d.arithmetic.points_that_tell == 0
          ? "Arithmetic: not known, as no point tells it."
          : absl::StrCat("Arithmetic: `", d.arithmetic.name, "`",
                         d.arithmetic.stored_rounded
                             ? ", rounded when it was stored."
                             : "."),
      " Replayed from the trace's own values before it, so that nothing is "
      "inherited, ",
      differing, " of ", Plural(d.points.size(), "point"),
      " differ beyond what `", d.arithmetic.name, "` explains",
      !d.first_difference.has_value()
          ? ""
          : absl::StrCat(": first ", PlaceOf(d.points[*d.first_difference])),
      ".");
}

// What it is, whether it was confirmed, and what is to be changed.
std::string CauseSentence(const DiagnosedCause& cause) {
  std::string text = absl::StrCat("Cause `", cause.id, "` (",
                                  CauseKindName(cause.kind), "): ", cause.what);
  if (IsOfProgram(cause)) {
    const Confirmation of = ConfirmationOf(cause);
    absl::StrAppend(&text, ", from ", Place(cause.first_layer, cause.first_op));
    if (!of.by.empty()) {
      absl::StrAppend(&text, ". Confirmed by ", absl::StrJoin(of.by, " and "));
    }
    if (!of.not_by.empty()) {
      absl::StrAppend(&text, ". Not confirmed by ",
                      absl::StrJoin(of.not_by, " and "));
    }
  }
  if (!cause.same_as.empty()) {
    absl::StrAppend(&text, ". No point of the trace can tell it from ",
                    Quoted(cause.same_as));
  }
  if (!cause.advice.empty()) {
    absl::StrAppend(&text, ". What to change: ", cause.advice);
  }
  return absl::StrCat(absl::StripSuffix(text, "."), ".");
}

}  // namespace

std::string Printable(absl::string_view name) {
  std::string text(name);
  for (char& c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return text;
}

std::vector<std::string> Sentences(const Diagnosis& d) {
  const DiagnosisFigures figures = FiguresOf(d);
  std::vector<std::string> all = {Headline(d, figures.outcome)};
  if (!d.stopped_in.empty()) {
    all.push_back(absl::StrCat("The diagnosis was stopped in ", d.stopped_in,
                               ". What follows is from the rest."));
  }
  const auto not_finite = [&](absl::string_view whose,
                              const std::optional<NonFinite>& of,
                              const std::optional<FirstNonFinite>& first) {
    if (!of.has_value()) return;
    all.push_back(absl::StrCat("Not finite: ", whose, " at ", of->points,
                               " of ", Plural(d.points.size(), "point"),
                               ", first ", PlaceOf(d.points[of->first]), "."));
    if (first.has_value()) all.push_back(NonFiniteSentence(whose, *first));
  };
  not_finite("the trace", d.trace_nonfinite, d.trace_first_nonfinite);
  if (d.finite_values.finite < d.finite_values.values) {
    all.push_back(FiniteSentence(d.finite_values));
  }
  not_finite(absl::StrCat("ours (`", d.plan, "`)"), d.ours_nonfinite,
             d.ours_first_nonfinite);
  all.push_back(AlignmentSentence(d));
  if (!d.states.empty()) all.push_back(WhoIsRight(d, figures));
  if (!d.points.empty()) all.push_back(FirstDifference(d, figures.differing));
  for (const DiagnosedCause& cause : d.causes) {
    all.push_back(CauseSentence(cause));
  }
  const auto left = [&](const std::optional<size_t>& first, size_t count,
                        absl::string_view what, absl::string_view advice) {
    if (!first.has_value()) return;
    const PointResult& point = d.points[*first];
    all.push_back(absl::StrCat(what, Plural(count, "point"), ", first ",
                               PlaceOf(point), " (`", Printable(point.name),
                               "`).", advice));
  };
  left(d.first_not_reproduced, figures.not_reproduced,
       "Within rounding, but not bit for bit as the others: ",
       " No hypothesis gives those bits.");
  left(d.first_unexplained, figures.still_differing, "What stays unexplained: ",
       d.stopped_in.empty() ? " Nothing in the catalogue explains it." : "");
  left(d.first_without_effect, figures.still_differing,
       "Computed another way, without effect on the results: ", "");
  for (const PointDescription& description : d.descriptions) {
    // What causes explain they describe.
    if (description.status == DescribedAs::kExplained) continue;
    all.push_back(DescriptionSentence(d, description));
  }
  if (!d.not_measured.empty()) {
    all.push_back(
        absl::StrCat("Not measured: ", Plural(d.not_measured.size(), "tensor"),
                     ", listed with the reasons below."));
  }
  return all;
}

}  // namespace ulpscope
