#include "explorer/report/diagnosis_text.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/cause_text.h"
#include "explorer/report/diagnosis_figures.h"
#include "explorer/report/figures.h"

namespace ulpscope {
namespace {

// Positions, presets or formats that are listed; of more, the number.
constexpr size_t kMostListed = 5;

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

// Causes that are of the trace's program, or that are not.
std::vector<std::string> Ids(const Diagnosis& d, bool of_program) {
  std::vector<std::string> ids;
  for (const DiagnosedCause& cause : d.causes) {
    if ((cause.kind == CauseKind::kImplementation ||
         cause.kind == CauseKind::kArithmetic) == of_program) {
      ids.push_back(cause.id);
    }
  }
  return ids;
}

std::string Unexplained(const Diagnosis& d) {
  const PointResult& point = d.points[*d.first_unexplained];
  return absl::StrFormat(
      "%s: first differs at op %s: distance %s, allowed %s.",
      d.stopped_in.empty() ? "Unexplained" : "Unexplained when it was stopped",
      PointPlace(point),
      Figure(d.causes.empty() ? point.distance : point.distance_with_causes),
      Figure(point.allowed));
}

std::string Headline(const Diagnosis& d) {
  const std::vector<std::string> ids = Ids(d, true);
  const std::vector<std::string> others = Ids(d, false);
  std::string text;
  if (!ids.empty()) {
    const bool rounds = std::none_of(
        d.causes.begin(), d.causes.end(), [](const DiagnosedCause& cause) {
          return cause.kind == CauseKind::kImplementation;
        });
    text =
        absl::StrCat(rounds ? "The trace's program rounds elsewhere: "
                            : "The trace's program differs from the model by ",
                     Quoted(ids), ".");
    if (!d.explained()) {
      absl::StrAppend(&text, " That is not all. ", Unexplained(d));
    }
  } else if (!d.explained()) {
    text = Unexplained(d);
  } else if (d.points.empty()) {
    text = d.stopped_in.empty()
               ? "Nothing is known: no output of the trace was measured."
               : "Nothing is known yet.";
  } else if (!d.stopped_in.empty()) {
    text =
        "No implementation difference was found until it was stopped, which "
        "does not say that there is none.";
  } else {
    text = absl::StrCat(
        "No implementation difference: everything in the trace is what `",
        d.arithmetic.name, "` explains.");
    if (d.first_not_reproduced.has_value()) {
      absl::StrAppend(&text, " But not all of it bit for bit: first ",
                      PointPlace(d.points[*d.first_not_reproduced]), ".");
    }
  }
  if (!others.empty()) {
    absl::StrAppend(&text, " What the error table shows comes from ",
                    Quoted(others), ids.empty() ? "." : " too.");
  }
  return text;
}

std::string ShiftOf(const Alignment::Shift& shift) {
  return absl::StrFormat("%s if shifted by %d", Figure(shift.mismatch),
                         shift.shift);
}

void AppendAlignment(const Diagnosis& d, std::vector<std::string>& sentences) {
  const Alignment& a = d.alignment;
  std::string text = absl::StrFormat(
      "Alignment: %s and %s, with the %s tokens.",
      Plural(d.positions, "position"), Plural(d.num_layers, "layer"),
      d.tokens_are_traces ? "trace's own" : "given");
  std::vector<std::string> others;
  const Alignment::Shift* taken = nullptr;
  for (const Alignment::Shift& shift : a.shifts) {
    if (shift.shift == a.state_shift) {
      taken = &shift;
    } else {
      others.push_back(ShiftOf(shift));
    }
  }
  if (taken != nullptr) {
    absl::StrAppendFormat(
        &text,
        " hidden_states[n] is the stream after layer n%s: replays of each "
        "layer from the state before come within %s of it, in units of the "
        "layer's update (median of %s)%s%s.",
        a.state_shift == 0  ? ""
        : a.state_shift > 0 ? absl::StrCat(" + ", a.state_shift)
                            : absl::StrCat(" - ", -a.state_shift),
        Figure(taken->mismatch), Plural(taken->layers, "state"),
        others.empty() ? "" : ", ", absl::StrJoin(others, ", "));
  }
  if (a.last_state.has_value()) {
    absl::StrAppendFormat(
        &text,
        " State %d is the %s: from a replay of its layer it is %s away "
        "without the final norm and %s with it (relative L2).",
        a.last_state->index,
        a.last_state_normed ? "one after the final norm"
                            : "stream, before the final norm",
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

// "430 of 433 to f32, 3 of 433 to f64".
std::string CountsOf(const std::vector<std::pair<std::string, size_t>>& counts,
                     size_t all) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts) {
    if (parts.size() == kMostListed) break;
    parts.push_back(absl::StrCat(count, " of ", all, " to ", name));
  }
  return absl::StrJoin(parts, ", ");
}

// Tensors whose values the arithmetic's results can hold, and its format.
std::string Fits(const Diagnosis& d) {
  const bool bf16 = d.arithmetic.name == "torch-bf16";
  const bool f16 = d.arithmetic.name == "torch-f16";
  const bool f32 = d.arithmetic.name == "f32";
  const auto fit = std::count_if(
      d.points.begin(), d.points.end(), [&](const PointResult& point) {
        const HeldBy held = point.held_by;
        if (bf16) return held == HeldBy::kBF16 || held == HeldBy::kBF16AndF16;
        if (f16) return held == HeldBy::kF16 || held == HeldBy::kBF16AndF16;
        return !f32 || held != HeldBy::kF64;
      });
  return absl::StrFormat("The values of %d of %d tensors fit %s.", fit,
                         d.points.size(),
                         bf16  ? "bf16"
                         : f16 ? "f16"
                         : f32 ? "f32"
                               : "f64");
}

void AppendArithmetic(const Diagnosis& d, const DiagnosisFigures& figures,
                      std::vector<std::string>& sentences) {
  if (d.points.empty()) return;
  std::string text = absl::StrCat(
      "Arithmetic: `", d.arithmetic.name, "`",
      d.arithmetic.plan.empty() || d.arithmetic.plan == d.arithmetic.name
          ? ""
          : absl::StrCat(" (`", d.arithmetic.plan, "`)"),
      ". ", Fits(d));
  if (!figures.closest.empty()) {
    absl::StrAppend(&text, " The nearest replay is, point by point: ",
                    CountsOf(figures.closest, d.points.size()), ".");
  }
  if (d.arithmetic.stored_rounded) {
    absl::StrAppend(&text,
                    " They were computed in it, and rounded when "
                    "they were stored.");
  }
  if (figures.nonfinite > 0) {
    absl::StrAppend(&text, " Of its values, ", figures.nonfinite,
                    figures.nonfinite == 1 ? " is" : " are",
                    " infinite or NaN.");
  }
  sentences.push_back(text);
}

void AppendWhoIsRight(const Diagnosis& d, const DiagnosisFigures& figures,
                      std::vector<std::string>& sentences) {
  if (d.states.empty()) return;
  const StateDistance& last = d.states.back();
  std::string text = absl::StrCat(
      "Who is right: ",
      d.nearer_to_oracle < 0
          ? absl::StrCat("ours (`", d.plan, "`) is the more accurate one")
      : d.nearer_to_oracle > 0 ? "the trace is the more accurate one"
                               : "neither is twice as accurate at most states",
      absl::StrFormat(
          ". Of %s, ours is nearer to the f64 oracle at %d, the trace at %d. "
          "After %s the trace is %s from the oracle (relative L2), ours %s, "
          "and the two are %s apart.",
          Plural(d.states.size(), "state"), figures.nearer_ours,
          figures.nearer_trace,
          last.normed       ? "the final norm"
          : last.layer == 0 ? "the embedding"
                            : absl::StrCat("layer ", last.layer),
          Figure(last.trace_to_oracle), Figure(last.ours_to_oracle),
          Figure(last.trace_to_ours)));
  if (!d.arithmetic.name.empty()) {
    absl::StrAppendFormat(
        &text, " `%s`%s on our own inputs is %s from the oracle there.",
        d.arithmetic.name, d.differs() ? " with the causes found" : "",
        Figure(last.emulation_to_oracle));
  }
  if (d.nearer_to_oracle < 0 && d.explained() && !d.differs() &&
      d.stopped_in.empty()) {
    text += " The two disagree because the trace rounds; ours needs no change.";
  }
  sentences.push_back(text);
}

void AppendFirstDifference(const Diagnosis& d, const DiagnosisFigures& figures,
                           std::vector<std::string>& sentences) {
  if (d.points.empty()) return;
  const std::string of = absl::StrFormat(
      "Replayed from the trace's own values before it, so that nothing is "
      "inherited, %d of %s",
      figures.differing, Plural(d.points.size(), "point"));
  if (!d.first_difference.has_value()) {
    const PointResult& point = d.points[figures.tightest];
    sentences.push_back(absl::StrCat(
        of, " differ beyond what `", d.arithmetic.name, "` explains. ",
        point.distance == 0
            ? "All have the replay's values."
            : absl::StrFormat(
                  "The one nearest to it is %s: distance %s, allowed %s.",
                  PointPlace(point), Figure(point.distance),
                  Figure(point.allowed))));
    return;
  }
  const PointResult& point = d.points[*d.first_difference];
  sentences.push_back(absl::StrFormat(
      "%s %s beyond what `%s` explains. The first is %s (`%s`): distance %s "
      "of its norm, allowed %s%s; %s of its elements have the same bits.",
      of, figures.differing == 1 ? "differs" : "differ", d.arithmetic.name,
      PointPlace(point), Printable(point.name), Figure(point.distance),
      Figure(point.allowed),
      point.allowed > 0
          ? absl::StrCat(", which is ", Figure(point.tolerance),
                         " times what that arithmetic's own roundings make")
          : "",
      Percent(point.identical)));
}

// Points that are within rounding, where the replay of most has the trace's
// bits.
void AppendNotReproduced(const Diagnosis& d, const DiagnosisFigures& figures,
                         std::vector<std::string>& sentences) {
  if (!d.first_not_reproduced.has_value()) return;
  const PointResult& point = d.points[*d.first_not_reproduced];
  sentences.push_back(absl::StrFormat(
      "The replay has the trace's bits but for sums in another order, except "
      "at %s that %s within rounding: first %s (`%s`), of whose elements %s "
      "are the same. Something rounds elsewhere there, or differs by less than "
      "a rounding; no hypothesis gives those bits.",
      Plural(figures.not_reproduced, "point"),
      figures.not_reproduced == 1 ? "is" : "are", PointPlace(point),
      Printable(point.name), Percent(point.identical_with_causes)));
}

void AppendUnexplained(const Diagnosis& d, const DiagnosisFigures& figures,
                       std::vector<std::string>& sentences) {
  if (d.explained()) return;
  const PointResult& point = d.points[*d.first_unexplained];
  sentences.push_back(absl::StrFormat(
      "What stays unexplained: %s %s with all causes, first %s (`%s`), of "
      "whose "
      "elements %s have the same bits as the replay.%s Compare how the two "
      "programs compute that op, from the "
      "values that the trace has before it.",
      Plural(figures.still_differing, "point"),
      figures.still_differing == 1 ? "still differs" : "still differ",
      PointPlace(point), Printable(point.name),
      Percent(point.identical_with_causes),
      d.stopped_in.empty() ? " Nothing in the catalogue explains it." : ""));
}

}  // namespace

std::string PointPlace(const PointResult& point) {
  return Place(point.layer, point.op);
}

std::vector<std::string> Sentences(const Diagnosis& d) {
  const DiagnosisFigures figures = FiguresOf(d);
  std::vector<std::string> sentences = {Headline(d)};
  if (!d.stopped_in.empty()) {
    sentences.push_back(absl::StrCat("The diagnosis was stopped in ",
                                     d.stopped_in,
                                     ". What follows is from the rest."));
  }
  AppendAlignment(d, sentences);
  AppendArithmetic(d, figures, sentences);
  AppendWhoIsRight(d, figures, sentences);
  AppendFirstDifference(d, figures, sentences);
  for (const DiagnosedCause& cause : d.causes) {
    sentences.push_back(CauseSentence(d, cause));
  }
  AppendNotReproduced(d, figures, sentences);
  AppendUnexplained(d, figures, sentences);
  if (!d.not_measured.empty()) {
    sentences.push_back(
        absl::StrCat("Not measured: ", Plural(d.not_measured.size(), "tensor"),
                     ", listed with the reasons below."));
  }
  return sentences;
}

}  // namespace ulpscope
