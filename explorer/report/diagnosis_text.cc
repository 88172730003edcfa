#include "explorer/report/diagnosis_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/diagnosis_figures.h"
#include "explorer/report/figures.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

// Positions that are listed; of more, the number.
constexpr size_t kMostListed = 5;

// "-" is what was not measured.
std::string Figure(std::optional<double> x) {
  return !x.has_value() ? "-" : std::isnan(*x) ? "NaN" : Number(*x);
}

std::string Plural(size_t n, absl::string_view noun) {
  return absl::StrCat(n, " ", noun, n == 1 ? "" : "s");
}

// "`a`", "`a` and `b`", "`a`, `b` and `c`".
std::string Quoted(const std::vector<std::string>& ids) {
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    absl::StrAppend(&text,
                    i == 0                ? ""
                    : i + 1 == ids.size() ? " and "
                                          : ", ",
                    "`", ids[i], "`");
  }
  return text;
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

std::string Unexplained(const Diagnosis& d) {
  const PointResult& point = d.points[*d.first_unexplained];
  return absl::StrFormat(
      "%s: first differs at op %s: distance %s, allowed %s.",
      d.stopped_in.empty() ? "Unexplained" : "Unexplained when it was stopped",
      PlaceOf(point),
      Figure(d.causes.empty() ? point.distance : point.distance_with_causes),
      Figure(point.allowed));
}

std::string Verdict(const Diagnosis& d, const DiagnosisFigures& figures) {
  const std::string program = Quoted(Ids(d, true));
  const std::string left =
      d.explained() ? "" : absl::StrCat(" That is not all. ", Unexplained(d));
  switch (figures.outcome) {
    case Outcome::kDiffers:
      return absl::StrCat("The trace's program differs from the model by ",
                          program, ".", left);
    case Outcome::kRoundsElsewhere:
      return absl::StrCat("The trace's program rounds elsewhere: ", program,
                          ".", left);
    case Outcome::kUnexplained:
      return Unexplained(d);
    case Outcome::kNothingMeasured:
      return "Nothing is known: no output of the trace was measured.";
    case Outcome::kStopped:
      return d.points.empty()
                 ? "Nothing is known yet."
                 : "No implementation difference was found until it was "
                   "stopped, which does not say that there is none.";
    case Outcome::kNoDifference:
      break;
  }
  return absl::StrCat(
      "No implementation difference: everything in the trace is what `",
      d.arithmetic.name, "` explains.",
      !d.first_not_reproduced.has_value()
          ? ""
          : absl::StrCat(" But not all of it bit for bit: first ",
                         PlaceOf(d.points[*d.first_not_reproduced]), "."));
}

std::string Headline(const Diagnosis& d, const DiagnosisFigures& figures) {
  std::string text;
  if (d.trace_nonfinite.has_value()) {
    text = absl::StrCat("The trace is not finite from ",
                        PlaceOf(d.points[d.trace_nonfinite->first]), " on. ");
  }
  absl::StrAppend(&text, Verdict(d, figures));
  const std::vector<std::string> others = Ids(d, false);
  if (!others.empty()) {
    absl::StrAppend(&text, " What the error table shows comes from ",
                    Quoted(others), Ids(d, true).empty() ? "." : " too.");
  }
  return text;
}

// What is not finite, a sentence each.
void AppendNonFinite(const Diagnosis& d, const DiagnosisFigures& figures,
                     std::vector<std::string>& sentences) {
  const auto add = [&](absl::string_view whose, const NonFinite& of,
                       absl::string_view more) {
    sentences.push_back(absl::StrFormat(
        "Not finite: %s %s %s infinite or NaN at %d of %s, the first of which "
        "is "
        "%s.%s No accuracy is told from them.",
        whose, Plural(of.elements, "value"), of.elements == 1 ? "is" : "are",
        of.points, Plural(d.points.size(), "point"),
        PlaceOf(d.points[of.first]), more));
  };
  if (d.trace_nonfinite.has_value()) {
    const bool same = !d.points[d.trace_nonfinite->first].still_differs;
    add("of the trace", *d.trace_nonfinite,
        absl::StrCat(
            same ? " A replay from the values before it gives them too."
                 : " A replay from the values before it gives finite ones.",
            figures.not_judged == 0
                ? ""
                : absl::StrCat(" Behind it ",
                               Plural(figures.not_judged, "point"),
                               " with such values cannot be judged.")));
  }
  if (d.ours_nonfinite.has_value()) {
    add(absl::StrCat("of ours (`", d.plan, "`)"), *d.ours_nonfinite, "");
  }
}

void AppendAlignment(const Diagnosis& d, std::vector<std::string>& sentences) {
  const Alignment& a = d.alignment;
  std::string text = absl::StrFormat(
      "Alignment: %s and %s, with the %s tokens.",
      Plural(d.positions, "position"), Plural(d.num_layers, "layer"),
      d.tokens_are_traces ? "trace's own" : "given");
  if (!a.shifts.empty()) {
    absl::StrAppend(&text, " hidden_states[n] is the stream after layer n",
                    a.state_shift == 0
                        ? ""
                        : absl::StrFormat(" %c %d", "-+"[a.state_shift > 0],
                                          std::abs(a.state_shift)),
                    ".");
  }
  if (a.last_state.has_value() && !std::isnan(a.last_state->raw)) {
    absl::StrAppendFormat(
        &text,
        " State %d is %s: %s and %s from replays without and "
        "with the final norm.",
        a.last_state->index,
        a.last_state_normed ? "the one after the final norm"
                            : "the stream, before the final norm",
        Figure(a.last_state->raw), Figure(a.last_state->normed));
  }
  sentences.push_back(text);
  if (a.other_tokens.empty()) return;
  std::vector<std::string> tokens;
  for (const Alignment::OtherToken& other : a.other_tokens) {
    if (tokens.size() == kMostListed) break;
    tokens.push_back(absl::StrFormat(
        "at position %d token %d, where the trace has %s", other.position,
        other.token,
        other.found < 0 ? "that of no token"
                        : absl::StrCat("that of token ", other.found)));
  }
  sentences.push_back(
      absl::StrCat("The trace's embedding is not that of its tokens at ",
                   Plural(a.other_tokens.size(), "position"), ": ",
                   absl::StrJoin(tokens, "; "),
                   a.other_tokens.size() > tokens.size() ? "; ..." : "", "."));
}

void AppendArithmetic(const Diagnosis& d, std::vector<std::string>& sentences) {
  if (d.points.empty()) return;
  if (d.arithmetic.points_that_tell == 0) {
    sentences.push_back(
        "Arithmetic: not known, as no point tells it: the embedding is the "
        "checkpoint's, scores are often exact, and what is not finite is in "
        "every format.");
    return;
  }
  std::vector<std::string> closest;
  const DiagnosisFigures figures = FiguresOf(d);
  for (const auto& [name, count] : figures.closest) {
    closest.push_back(absl::StrCat(count, " to `", name, "`"));
  }
  sentences.push_back(absl::StrCat(
      "Arithmetic: `", d.arithmetic.name, "`",
      d.arithmetic.plan.empty() || d.arithmetic.plan == d.arithmetic.name
          ? ""
          : absl::StrCat(" (`", d.arithmetic.plan, "`)"),
      d.arithmetic.stored_rounded
          ? ", whose values were rounded when they were "
            "stored"
          : "",
      ". Of ", Plural(d.points.size(), "point"), " the nearest replay is ",
      absl::StrJoin(closest, ", "), "."));
}

void AppendWhoIsRight(const Diagnosis& d, const DiagnosisFigures& figures,
                      std::vector<std::string>& sentences) {
  const auto last =
      std::find_if(d.states.rbegin(), d.states.rend(),
                   [](const StateDistance& s) { return s.is_finite(); });
  if (d.states.empty()) return;
  if (last == d.states.rend() ||
      (last->layer == 0 && figures.states_not_finite > 0)) {
    sentences.push_back(
        "Who is right: not known, as no state after a layer is finite in the "
        "trace, the oracle and ours.");
    return;
  }
  sentences.push_back(absl::StrCat(
      "Who is right: ",
      d.nearer_to_oracle < 0
          ? absl::StrCat("ours (`", d.plan, "`) is the more accurate one")
      : d.nearer_to_oracle > 0 ? "the trace is the more accurate one"
                               : "neither is twice as accurate at most states",
      absl::StrFormat(". Of %s, ours is nearer to the f64 oracle at %d, the "
                      "trace at %d%s. After %s the trace is %s from the oracle "
                      "(relative L2), ours %s, and the two are %s apart.",
                      Plural(d.states.size(), "state"), figures.nearer_ours,
                      figures.nearer_trace,
                      figures.states_not_finite == 0
                          ? ""
                          : absl::StrCat("; ", figures.states_not_finite,
                                         " do not say it, not being finite"),
                      last->normed       ? "the final norm"
                      : last->layer == 0 ? "the embedding"
                                         : absl::StrCat("layer ", last->layer),
                      Figure(last->trace_to_oracle),
                      Figure(last->ours_to_oracle),
                      Figure(last->trace_to_ours)),
      d.nearer_to_oracle < 0 && d.explained() && !d.differs() &&
              d.stopped_in.empty() && !d.trace_nonfinite.has_value()
          ? " The two disagree because the trace rounds; ours needs no change."
          : ""));
}

void AppendFirstDifference(const Diagnosis& d, const DiagnosisFigures& figures,
                           std::vector<std::string>& sentences) {
  if (d.points.empty()) return;
  const bool any = d.first_difference.has_value();
  const PointResult& point =
      d.points[any ? *d.first_difference : figures.tightest];
  std::string text = absl::StrFormat(
      "Replayed from the trace's own values before it, so that nothing is "
      "inherited, %d of %s %s beyond what `%s` explains. ",
      figures.differing, Plural(d.points.size(), "point"),
      figures.differing == 1 ? "differs" : "differ", d.arithmetic.name);
  if (!any && TightnessOf(point) == 0) {
    absl::StrAppend(&text, "All have the replay's values.");
  } else {
    absl::StrAppend(&text, any ? "The first is " : "The one nearest to it is ",
                    PlaceOf(point), ": distance ", Figure(point.distance),
                    ", allowed ", Figure(point.allowed), ".");
  }
  sentences.push_back(text);
}

// What it is, whether it was confirmed, and what is to be changed.
std::string CauseSentence(const DiagnosedCause& cause) {
  const auto sentence = [](absl::string_view text) {
    return absl::EndsWith(text, ".") ? std::string(text)
                                     : absl::StrCat(text, ".");
  };
  std::string text = sentence(absl::StrCat(
      "Cause `", cause.id, "` (", CauseKindName(cause.kind), "): ", cause.what,
      IsOfProgram(cause)
          ? absl::StrCat(", from ", Place(cause.first_layer, cause.first_op))
          : ""));
  const Confirmation of = ConfirmationOf(cause);
  if (IsOfProgram(cause) && (of.replayed || of.run)) {
    absl::StrAppend(&text, of.by_replay && of.by_run ? " Confirmed twice"
                           : of.by_replay && of.run
                               ? " Confirmed by the replay, not by a free run"
                           : of.by_replay ? " Confirmed by the replay"
                           : of.by_run && of.replayed
                               ? " Confirmed by a free run, not by the replay"
                           : of.by_run ? " Confirmed by a free run"
                                       : " Not confirmed");
    if (of.replayed) {
      absl::StrAppendFormat(
          &text,
          ": replayed, %s %s off by %s times what rounding allows, and by %s "
          "times with this change",
          Plural(cause.points, "point"), cause.points == 1 ? "is" : "are",
          Figure(cause.replay_without), Figure(cause.replay_with));
    }
    if (of.run) {
      absl::StrAppend(&text, of.replayed ? "; a" : ": a",
                      " run from the tokens is ", Figure(cause.run_without),
                      " from the trace, and ", Figure(cause.run_with),
                      " with it");
    }
    text += ".";
  } else if (cause.kind == CauseKind::kComparison &&
             (cause.replay_without > 0 || cause.run_without > 0)) {
    const bool replayed = cause.replay_without > 0;
    absl::StrAppendFormat(
        &text,
        " %s %s from the trace as it was given, and %s with that put right.",
        replayed ? "Replays are" : "A run of its arithmetic is",
        Figure(replayed ? cause.replay_without : cause.run_without),
        Figure(replayed ? cause.replay_with : cause.run_with));
  } else if (cause.run_without > 0) {
    absl::StrAppendFormat(
        &text,
        cause.id == "cancellation"
            ? " The trace is %s from the oracle before that layer, and %s "
              "after it."
            : " In a run with everything else exact it gives the final hidden "
              "state an error of %s, and under f32 one of %s.",
        Figure(cause.run_without), Figure(cause.run_with));
  }
  if (!cause.same_as.empty()) {
    absl::StrAppend(&text, " No point of the trace can tell it from ",
                    Quoted(cause.same_as), ".");
  }
  if (!cause.advice.empty()) {
    absl::StrAppend(&text, " What to change: ", sentence(cause.advice));
  }
  return text;
}

// Points that are within rounding, where the replay of most has the trace's
// bits; and those that nothing explains.
void AppendLeft(const Diagnosis& d, const DiagnosisFigures& figures,
                std::vector<std::string>& sentences) {
  const auto add = [&](const std::optional<size_t>& first, size_t count,
                       absl::string_view what, absl::string_view advice) {
    if (!first.has_value()) return;
    const PointResult& point = d.points[*first];
    const std::optional<double>& same = point.identical_with_causes;
    sentences.push_back(
        absl::StrCat(what, Plural(count, "point"), ", first ", PlaceOf(point),
                     " (`", Printable(point.name), "`), of whose elements ",
                     same.has_value() ? Percent(*same) : "-",
                     " have the replay's bits. ", advice));
  };
  add(d.first_not_reproduced, figures.not_reproduced,
      "Within rounding, but not bit for bit as the others: ",
      "Something rounds elsewhere there, or differs by less than a rounding; "
      "no "
      "hypothesis gives those bits.");
  add(d.first_unexplained, figures.still_differing, "What stays unexplained: ",
      absl::StrCat(
          d.stopped_in.empty() ? "Nothing in the catalogue explains it. " : "",
          "Compare how the two programs compute that op, from the values that "
          "the trace has before it."));
}

}  // namespace

std::string Printable(absl::string_view name) {
  std::string text(name);
  for (char& c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return text;
}

std::string Place(size_t layer, Op op) {
  return IsPerLayer(op) ? absl::StrCat(OpName(op), " in layer ", layer)
                        : std::string(OpName(op));
}

std::vector<std::string> Sentences(const Diagnosis& d) {
  const DiagnosisFigures figures = FiguresOf(d);
  std::vector<std::string> sentences = {Headline(d, figures)};
  if (!d.stopped_in.empty()) {
    sentences.push_back(absl::StrCat("The diagnosis was stopped in ",
                                     d.stopped_in,
                                     ". What follows is from the rest."));
  }
  AppendNonFinite(d, figures, sentences);
  AppendAlignment(d, sentences);
  AppendArithmetic(d, sentences);
  AppendWhoIsRight(d, figures, sentences);
  AppendFirstDifference(d, figures, sentences);
  for (const DiagnosedCause& cause : d.causes) {
    sentences.push_back(CauseSentence(cause));
  }
  AppendLeft(d, figures, sentences);
  if (!d.not_measured.empty()) {
    sentences.push_back(
        absl::StrCat("Not measured: ", Plural(d.not_measured.size(), "tensor"),
                     ", listed with the reasons below."));
  }
  return sentences;
}

}  // namespace ulpscope
