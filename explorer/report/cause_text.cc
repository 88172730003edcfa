#include "explorer/report/cause_text.h"

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
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/verdict.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/diagnosis_figures.h"
#include "explorer/report/figures.h"
#include "explorer/report/verdict_text.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

// The row of the error table; null if there is none.
const ErrorRow* RowOf(const Diagnosis& d, size_t layer) {
  for (const ErrorRow& row : d.rows) {
    if (row.layer == layer) return &row;
  }
  return nullptr;
}

// The text as a sentence.
std::string Sentence(absl::string_view text) {
  return text.empty() || absl::EndsWith(text, ".") ? std::string(text)
                                                   : absl::StrCat(text, ".");
}

void Append(std::string& text, absl::string_view sentence) {
  if (sentence.empty()) return;
  absl::StrAppend(&text, text.empty() ? "" : " ", sentence);
}

std::string Replayed(const DiagnosedCause& c) {
  return absl::StrFormat(
      "replayed from the trace's own values, %d %s off by %.3g times what "
      "rounding allows if nothing is changed, and by %.3g times with this "
      "change (root mean square), and %s and %s of their elements have the "
      "trace's bits",
      c.points, c.points == 1 ? "point is" : "points are", c.replay_without,
      c.replay_with, Percent(c.identical_without), Percent(c.identical_with));
}

std::string Run(const DiagnosedCause& c) {
  return absl::StrFormat(
      "a run from the tokens is %s from the trace without this change and %s "
      "with it (relative L2)%s",
      Figure(c.run_without), Figure(c.run_with),
      c.run_with < c.run_without
          ? absl::StrCat(", which takes away ", Percent(c.removed),
                         " of the squared distance")
          : "");
}

// The two confirmations of a cause that is of the trace's program, as far as
// they were made and as far as they confirm.
std::string Confirmed(const DiagnosedCause& c) {
  const bool replayed = c.points > 0 && c.replay_without > 0;
  const bool run = c.run_without > 0;
  if (!replayed && !run) return "";
  // What rounding allows needs no cause, unless it gives the trace's bits.
  const bool by_replay =
      replayed && c.replay_with < c.replay_without &&
      (c.replay_without > 1 || c.identical_with > c.identical_without);
  const bool by_run = run && c.run_with < c.run_without;
  std::vector<std::string> parts;
  if (replayed) parts.push_back(Replayed(c));
  if (run) parts.push_back(Run(c));
  std::string text = absl::StrCat(
      by_replay && by_run  ? "Confirmed twice: "
      : by_replay && run   ? "Confirmed by the replay, not by a free run: "
      : by_replay          ? "Confirmed by the replay: "
      : by_run && replayed ? "Confirmed by a free run, not by the replay: "
      : by_run             ? "Confirmed by a free run: "
                           : "Not confirmed: ",
      absl::StrJoin(parts, "; and "), ".");
  if (by_replay && !run) {
    Append(text,
           "(There is no second way: the trace has no state of the stream and "
           "no logits behind it.)");
  }
  return text;
}

// What the squared error of a layer's row is.
std::string OfRow(const ErrorRow* row, double ErrorRow::*share,
                  absl::string_view what) {
  if (row == nullptr) return "";
  return absl::StrFormat(
      "In the error table, %s of layer %d's squared error "
      "%s.",
      Percent(row->*share), row->layer, what);
}

// Of comparing what is not the same: the replays', and what it makes of the
// table.
std::string OfComparison(const Diagnosis& d, const DiagnosedCause& cause) {
  std::string text;
  if (cause.replay_without > 0) {
    text = absl::StrFormat(
        "Replays from the trace's own values are %s from it as it was given, "
        "and %s with that put right (relative L2).",
        Figure(cause.replay_without), Figure(cause.replay_with));
  }
  if (cause.run_without > 0) {
    Append(text,
           absl::StrFormat("A run of the trace's arithmetic from the tokens is "
                           "%s from it as it was given, and %s with that put "
                           "right, which takes away %s of the squared "
                           "distance.",
                           Figure(cause.run_without), Figure(cause.run_with),
                           Percent(cause.removed)));
  }
  // With other tokens there is no row of what belongs together.
  if (cause.id == "other_tokens") return text;
  const bool last = cause.id == "last_state_normed";
  const ErrorRow* row = last && !d.rows.empty() ? &d.rows.back() : nullptr;
  for (size_t i = 0; row == nullptr && i < d.rows.size(); ++i) {
    if (d.rows[i].comparison > 0) row = &d.rows[i];
  }
  if (row == nullptr) return text;
  Append(text, OfRow(row, &ErrorRow::comparison, "comes from that"));
  Append(text,
         absl::StrFormat(
             "Its mean absolute error is %s as the trace was given, and "
             "%s where like is compared with like.",
             Figure(row->error.mean_abs), Figure(row->error_aligned.mean_abs)));
  return text;
}

// The two confirmations of rounding.
std::string OfRounding(const Diagnosis& d, const DiagnosedCause& cause) {
  std::string text;
  if (cause.points > 0 && cause.replay_without > 0) {
    text = absl::StrFormat(
        "Replayed from the trace's own values, %d %s of the stream %s %s away "
        "under f32 and %s under `%s` (relative L2).",
        cause.points, cause.points == 1 ? "state" : "states",
        cause.points == 1 ? "is" : "are", Figure(cause.replay_without),
        Figure(cause.replay_with), d.arithmetic.name);
  }
  if (cause.run_without > 0 && d.rounding.has_value()) {
    Append(text, absl::StrFormat(
                     "In a run from the tokens with everything else exact, the "
                     "ops that it comes from give the final hidden state an "
                     "error of %s (all of `%s`: %s), and under f32 one of %s.",
                     Figure(cause.run_without), d.arithmetic.name,
                     Figure(d.rounding->rel_l2), Figure(cause.run_with)));
  }
  return text;
}

// Of a massive activation: which value, and what its rounding does.
std::string OfMassiveActivation(const Diagnosis& d,
                                const DiagnosedCause& cause) {
  std::string text;
  size_t born = cause.first_layer;
  if (d.rounding.has_value() && d.rounding->source.has_value() &&
      d.rounding->source->channel.has_value()) {
    const SourceChannel& c = *d.rounding->source->channel;
    if (c.massive) {
      born = c.born;
      text = absl::StrFormat(
          "Channel %d, born in %s, is %s at its largest (after layer %d, "
          "position %d), %s times the median, and %s. %s %s of the rounding's "
          "squared error in the layers between (on average).",
          c.channel,
          c.born == 0 ? "the embedding" : absl::StrCat("layer ", c.born),
          Number(c.value), c.value_layer, c.position, Number(c.ratio_to_median),
          c.removed == 0 ? "never removed"
                         : absl::StrCat("removed in layer ", c.removed),
          c.rounded ? absl::StrFormat("Rounding it to %s (spacing %g) makes",
                                      FormatName(c.format), c.spacing)
                    : "It has",
          Percent(c.error_share));
    }
  }
  const ErrorRow* row = RowOf(d, born);
  if (row == nullptr) return text;
  Append(text,
         OfRow(row, &ErrorRow::rounding,
               absl::StrCat("is rounding of the trace in that layer, and ",
                            Percent(row->inherited), " inherited")));
  if (!std::isnan(row->growth)) {
    Append(text,
           absl::StrFormat("Its mean absolute error is %s that of the "
                           "layer before, and its largest error %s.",
                           Growth(row->growth), Figure(row->error.max_abs)));
  }
  return text;
}

// What a cancellation exposes and the layer after it spreads.
std::string OfCancellation(const Diagnosis& d, const DiagnosedCause& cause) {
  std::string text;
  size_t layer = cause.first_layer;
  std::optional<size_t> spread;
  if (d.rounding.has_value()) {
    if (d.rounding->exposed_by.has_value()) {
      layer = d.rounding->exposed_by->layer;
      Append(text, ExposureSentence(*d.rounding->exposed_by));
    }
    if (d.rounding->spread_by.has_value()) {
      spread = d.rounding->spread_by->layer;
      Append(text, SpreadingSentence(*d.rounding->spread_by));
    }
  }
  if (cause.run_without > 0) {
    Append(text, absl::StrFormat(
                     "The trace itself is %s from the oracle before that layer "
                     "and %s after it (relative L2).",
                     Figure(cause.run_without), Figure(cause.run_with)));
  }
  Append(text, OfRow(RowOf(d, layer), &ErrorRow::cancellation,
                     "is inherited, and exposed by the cancellation"));
  if (!spread.has_value()) return text;
  const ErrorRow* before = RowOf(d, *spread - 1);
  const ErrorRow* after = RowOf(d, *spread);
  if (before != nullptr && after != nullptr && !std::isnan(after->growth)) {
    Append(text, absl::StrFormat("At layer %d the mean absolute error is %s "
                                 "that of the layer before, "
                                 "while the largest error goes from %s to %s.",
                                 *spread, Growth(after->growth),
                                 Figure(before->error.max_abs),
                                 Figure(after->error.max_abs)));
  }
  return text;
}

std::string Evidence(const Diagnosis& d, const DiagnosedCause& cause) {
  if (cause.kind == CauseKind::kComparison) return OfComparison(d, cause);
  if (cause.kind != CauseKind::kRounding) return Confirmed(cause);
  if (cause.id == "cancellation") return OfCancellation(d, cause);
  std::string text = OfRounding(d, cause);
  if (cause.id == "rounding_of_massive_activation") {
    Append(text, OfMassiveActivation(d, cause));
  }
  return text;
}

}  // namespace

std::string Figure(double x) { return std::isnan(x) ? "nan" : Number(x); }

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

std::string CauseSentence(const Diagnosis& d, const DiagnosedCause& cause) {
  const bool of_program = cause.kind == CauseKind::kImplementation ||
                          cause.kind == CauseKind::kArithmetic;
  std::string text = absl::StrCat(
      "Cause `", cause.id, "` (", CauseKindName(cause.kind), "): ", cause.what,
      of_program
          ? absl::StrCat(", from ", Place(cause.first_layer, cause.first_op))
          : "");
  text = Sentence(text);
  Append(text, Evidence(d, cause));
  if (!cause.same_as.empty()) {
    Append(text, absl::StrCat("No point of the trace can tell it from `",
                              absl::StrJoin(cause.same_as, "`, `"), "`."));
  }
  if (!cause.advice.empty()) {
    Append(text, Sentence(absl::StrCat("What to change: ", cause.advice)));
  }
  return text;
}

}  // namespace ulpscope
