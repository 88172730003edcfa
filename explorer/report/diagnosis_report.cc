#include "explorer/report/diagnosis_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/cause_text.h"
#include "explorer/report/diagnosis_figures.h"
#include "explorer/report/diagnosis_text.h"
#include "explorer/report/error_table.h"
#include "explorer/report/figures.h"
#include "explorer/report/run_info.h"
#include "explorer/report/verdict_text.h"
#include "model/architecture/op.h"
#include "model/trace/reference_trace.h"

namespace ulpscope {
namespace {

// Tokens that are listed; of more, the number.
constexpr size_t kMostTokens = 16;

// Points that are listed; of more, those that differ and a few others.
constexpr size_t kMostPoints = 60;
constexpr size_t kMostOtherPoints = 5;

constexpr size_t kMostHypotheses = 10;

// A share of a row that is not worth a word.
constexpr double kSmallShare = 0.01;

std::string Header(const RunInfo& info, absl::string_view reference,
                   const Diagnosis& d) {
  const std::string tokens =
      d.tokens.size() <= kMostTokens
          ? absl::StrCat(d.tokens.size() == 1 ? "token " : "tokens ",
                         absl::StrJoin(d.tokens, ","))
          : absl::StrCat(d.tokens.size(), " tokens");
  return absl::StrFormat(
      "# Diagnosis of `%s`\n\n%s\n\nCompared with `%s` on %s (%s). Run on %s, "
      "target %s, %d threads.\n",
      reference, ModelLine(info), d.plan, tokens,
      d.tokens_are_traces ? "the trace's" : "given", info.cpu, info.target,
      info.threads);
}

// The parts of the squared error that are worth a word, the largest first.
std::string ComesFrom(const ErrorRow& row) {
  std::vector<ErrorPart> parts;
  for (const ErrorPart& part : PartsOf(row)) {
    if (std::fabs(part.share) >= kSmallShare) parts.push_back(part);
  }
  if (parts.empty() || row.error.max_abs == 0) return "-";
  std::stable_sort(
      parts.begin(), parts.end(),
      [](const ErrorPart& a, const ErrorPart& b) { return a.share > b.share; });
  return absl::StrJoin(parts, ", ", [](std::string* out, const ErrorPart& p) {
    absl::StrAppendFormat(out, "%s %.0f %%", p.name, 100 * p.share);
  });
}

std::string ErrorTable(const RunInfo& info, const Diagnosis& d) {
  std::string text = absl::StrFormat(
      "\n## Error table\n\n"
      "`%s` minus the trace, as the trace was given. \"Comes from\" has the "
      "shares of the squared error: of comparing what is not the same, of the "
      "trace's rounding in that layer, of a difference beyond that, of our "
      "rounding, of what the layer inherits, and of what it inherits and a "
      "cancellation exposes.\n\n%s Comes from |\n%s------------|\n",
      d.plan, kErrorTableHead, kErrorTableRule);
  for (const ErrorRow& row : d.rows) {
    if (!info.IsShown(row.layer)) continue;
    absl::StrAppendFormat(&text, "%s %s |\n",
                          ErrorTableCells(row.layer, row.error, row.growth),
                          ComesFrom(row));
  }
  const DiagnosisFigures figures = FiguresOf(d);
  if (std::isnan(figures.total_growth)) return text;
  const ErrorRow& first = d.rows.front();
  const ErrorRow& last = d.rows.back();
  absl::StrAppendFormat(
      &text,
      "\n- Average growth rate per layer: %s (the arithmetic mean, as in the "
      "seed report; the geometric one is %s)\n"
      "- Total error growth (layer %d -> %d): %.1fx\n"
      "- Initial error (layer %d): %s\n"
      "- Final error (layer %d): %s; of what belongs together %s\n",
      Growth(figures.average_growth), Growth(figures.mean_growth), first.layer,
      last.layer, figures.total_growth, first.layer,
      ErrorDigits(first.error.mean_abs), last.layer,
      ErrorDigits(last.error.mean_abs),
      ErrorDigits(last.error_aligned.mean_abs));
  return text;
}

std::string WhoIsRight(const RunInfo& info, const Diagnosis& d) {
  std::string text = absl::StrFormat(
      "\n## Who is right\n\n"
      "Relative L2 distances of runs from the tokens on; the emulation is ours "
      "in the arithmetic found, with the causes.\n\n"
      "| After | Trace to oracle | Ours to oracle | Trace to ours | Emulation "
      "to oracle | Trace to emulation | Nearer |\n"
      "|-------|------:|------:|------:|------:|------:|--------|\n");
  for (const StateDistance& s : d.states) {
    if (s.layer > 0 && !info.IsShown(s.layer)) continue;
    absl::StrAppendFormat(
        &text, "| %s%s | %s | %s | %s | %s | %s | %s |\n",
        s.layer == 0 ? "embedding" : absl::StrCat("layer ", s.layer),
        s.normed ? " and the final norm" : "", Scientific(s.trace_to_oracle),
        Scientific(s.ours_to_oracle), Scientific(s.trace_to_ours),
        Scientific(s.emulation_to_oracle), Scientific(s.trace_to_emulation),
        s.trace_to_oracle < s.ours_to_oracle   ? "trace"
        : s.ours_to_oracle < s.trace_to_oracle ? "ours"
                                               : "-");
  }
  return text;
}

// Which points are listed, in their order.
std::vector<size_t> ShownPoints(const Diagnosis& d) {
  std::vector<size_t> shown, others;
  const bool all = d.points.size() <= kMostPoints;
  for (size_t i = 0; i < d.points.size(); ++i) {
    const PointResult& point = d.points[i];
    if (all || point.differs || point.still_differs || point.not_reproduced) {
      if (shown.size() < kMostPoints) shown.push_back(i);
    } else {
      others.push_back(i);
    }
  }
  const auto tightness = [&d](size_t i) {
    const PointResult& point = d.points[i];
    // 0 / 0 is a point without any error.
    return point.distance == 0 ? 0 : point.distance / point.allowed;
  };
  std::stable_sort(others.begin(), others.end(), [&](size_t i, size_t j) {
    return tightness(i) > tightness(j);
  });
  if (others.size() > kMostOtherPoints) others.resize(kMostOtherPoints);
  shown.insert(shown.end(), others.begin(), others.end());
  std::sort(shown.begin(), shown.end());
  return shown;
}

std::string Points(const Diagnosis& d) {
  const std::vector<size_t> shown = ShownPoints(d);
  std::string text = absl::StrFormat(
      "\n## Points\n\n"
      "Each op's output in the trace against a replay from the trace's own "
      "values before it, under `%s`: relative L2 distances, what that "
      "arithmetic allows, and the distance with all causes found.%s\n\n"
      "| Layer | Op | Stored | Fits | Distance | Allowed | With causes | Same "
      "bits | Nearest | |\n"
      "|------:|----|--------|------|---------:|--------:|------------:|----:"
      "|---------|-|\n",
      d.arithmetic.name,
      shown.size() < d.points.size()
          ? absl::StrFormat(
                " Of %d points these are the ones that differ, up to %d, and "
                "those that come nearest to it; results.json has all.",
                d.points.size(), kMostPoints)
          : "");
  for (const size_t i : shown) {
    const PointResult& p = d.points[i];
    absl::StrAppendFormat(
        &text, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
        p.layer == 0 ? "-" : absl::StrCat(p.layer), OpName(p.op), p.stored_as,
        HeldByName(p.held_by), Scientific(p.distance), Scientific(p.allowed),
        Scientific(p.distance_with_causes), Percent(p.identical), p.closest,
        p.still_differs    ? "unexplained"
        : p.differs        ? "differs"
        : p.not_reproduced ? "not bit for bit"
                           : "");
  }
  return text;
}

std::string Presets(const Diagnosis& d) {
  std::string text =
      "\n## Arithmetic\n\n"
      "How many points each preset's replay explains, and the mean over points "
      "of log2 of its relative distance.\n\n"
      "| Preset | Holds the values | Points explained | Mean log2 distance |\n"
      "|--------|------------------|-----------------:|-------------------:|"
      "\n";
  for (const Arithmetic::Preset& preset : d.arithmetic.presets) {
    absl::StrAppendFormat(&text, "| %s | %s | %d of %d | %.2f |\n", preset.name,
                          preset.holds_values ? "yes" : "no",
                          preset.points_explained, d.points.size(),
                          preset.mean_log2_distance);
  }
  return text;
}

std::string Hypotheses(const Diagnosis& d) {
  std::string text =
      "\n## Hypotheses\n\n"
      "Points that each explains and that it spoils; bits are the sum over "
      "points of log2 of the distance without it by that with it. Rows are of "
      "points that are within rounding: those that it moves, and those that "
      "become the trace's bits.\n\n"
      "| Hypothesis | Explains | Spoils | Bits | Rows moved | Hit |\n"
      "|------------|---------:|-------:|-----:|-----------:|----:|"
      "\n";
  size_t shown = 0, count = 0;
  std::vector<std::string> not_tried;
  for (const Tried& tried : d.tried) {
    if (!tried.not_tried.empty()) {
      not_tried.push_back(
          absl::StrCat("`", tried.id, "` (", tried.not_tried, ")"));
      continue;
    }
    ++count;
    if (tried.bits <= 0 && tried.explained == 0 && tried.rows_hit == 0) {
      continue;
    }
    if (shown++ >= kMostHypotheses) continue;
    absl::StrAppendFormat(&text, "| %s | %d | %d | %.1f | %d | %d |\n",
                          tried.id, tried.explained, tried.spoiled, tried.bits,
                          tried.rows_moved, tried.rows_hit);
  }
  if (shown == 0) {
    text = absl::StrFormat(
        "\n## Hypotheses\n\nNone of the %d that were tried brings the replay "
        "nearer to the trace.\n",
        count);
  } else if (shown > kMostHypotheses) {
    absl::StrAppendFormat(
        &text, "\nThe best %d of %d that come nearer, of %d that were tried.\n",
        kMostHypotheses, shown, count);
  } else if (shown < count) {
    absl::StrAppendFormat(
        &text, "\n%d were tried; the others do not come nearer.\n", count);
  }
  if (!not_tried.empty()) {
    absl::StrAppend(&text, "\nNot tried: ", absl::StrJoin(not_tried, "; "),
                    ".\n");
  }
  return text;
}

}  // namespace

std::string DiagnosisText(const RunInfo& info, absl::string_view reference,
                          const Diagnosis& d) {
  std::string text = Header(info, reference, d);
  if (!d.stopped_in.empty()) {
    absl::StrAppend(&text, "\n**Stopped by ", info.stopped_by, " in ",
                    d.stopped_in, ".** What is missing is not shown.\n");
  }
  text += "\n## Verdict\n\n";
  for (const std::string& sentence : Sentences(d)) {
    absl::StrAppend(&text, "- ", sentence, "\n");
  }
  if (!d.rows.empty()) text += ErrorTable(info, d);
  if (!d.states.empty()) text += WhoIsRight(info, d);
  if (!d.arithmetic.presets.empty()) text += Presets(d);
  if (!d.points.empty()) text += Points(d);
  if (!d.tried.empty()) text += Hypotheses(d);
  if (d.rounding.has_value()) {
    absl::StrAppend(&text, "\n## Where `", d.rounding->plan,
                    "` loses accuracy\n\n");
    for (const std::string& sentence : Sentences(*d.rounding, nullptr)) {
      absl::StrAppend(&text, "- ", sentence, "\n");
    }
  }
  if (!d.not_measured.empty()) {
    text += "\n## Not measured\n\n";
    for (const ReferenceTrace::NotMeasured& missing : d.not_measured) {
      absl::StrAppend(&text, "- `", Printable(missing.name),
                      "`: ", Printable(missing.reason), "\n");
    }
  }
  if (info.synthetic) {
    absl::StrAppend(&text, "\nAll figures are of SYNTHETIC weights (",
                    info.model, "), not of a trained model.\n");
  }
  return text;
}

}  // namespace ulpscope
