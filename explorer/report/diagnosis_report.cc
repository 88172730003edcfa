#include "explorer/report/diagnosis_report.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/diagnosis_figures.h"
#include "explorer/report/diagnosis_text.h"
#include "explorer/report/error_fields.h"
#include "explorer/report/figures.h"
#include "explorer/report/frame.h"
#include "explorer/report/markdown.h"
#include "explorer/report/run_info.h"
#include "explorer/report/verdict_text.h"
#include "explorer/results/schema.h"

namespace ulpscope {
namespace {

// Points that are listed; of more, those that differ and a few others.
constexpr size_t kMostPoints = 60;
constexpr size_t kMostOtherPoints = 5;

constexpr size_t kMostHypotheses = 10;

using Row = std::vector<Value>;

// The rows of these indices.
Table Of(Table table, const std::vector<size_t>& rows) {
  std::vector<Row> kept;
  for (const size_t row : rows) kept.push_back(std::move(table.rows[row]));
  table.rows = std::move(kept);
  return table;
}

std::string Growths(const Diagnosis& d) {
  const DiagnosisFigures figures = FiguresOf(d);
  if (!figures.total_growth || !figures.average_growth) return "";
  const ErrorRow& first = d.rows.front();
  const ErrorRow& last = d.rows.back();
  return absl::StrFormat(
      "\n- Average growth rate per layer: %s (the arithmetic mean, as in the "
      "seed report; the geometric one is %s)\n"
      "- Total error growth (layer %d -> %d): %.1fx\n"
      "- Initial error (layer %d): %.6f\n"
      "- Final error (layer %d): %.6f; of what belongs together %.6f\n",
      Growth(*figures.average_growth), Growth(*figures.mean_growth),
      first.layer, last.layer, *figures.total_growth, first.layer,
      first.error.mean_abs, last.layer, last.error.mean_abs,
      last.error_aligned.mean_abs);
}

// Which points are listed, in their order.
std::vector<size_t> ShownPoints(const Diagnosis& d) {
  std::vector<size_t> shown, others;
  const bool all = d.points.size() <= kMostPoints;
  for (size_t i = 0; i < d.points.size(); ++i) {
    if (!all && StatusOf(d.points[i]).empty()) {
      others.push_back(i);
    } else if (shown.size() < kMostPoints) {
      shown.push_back(i);
    }
  }
  std::stable_sort(others.begin(), others.end(), [&](size_t i, size_t j) {
    return TightnessOf(d.points[i]) > TightnessOf(d.points[j]);
  });
  if (others.size() > kMostOtherPoints) others.resize(kMostOtherPoints);
  shown.insert(shown.end(), others.begin(), others.end());
  std::sort(shown.begin(), shown.end());
  return shown;
}

// The best that come nearer, how many there are, and what was not tried.
std::string Hypotheses(const Diagnosis& d, const Table& table) {
  std::vector<size_t> nearer;
  std::vector<std::string> not_tried;
  for (size_t i = 0; i < d.tried.size(); ++i) {
    const Tried& tried = d.tried[i];
    if (!tried.not_tried.empty()) {
      not_tried.push_back(
          absl::StrCat("`", tried.id, "` (", tried.not_tried, ")"));
    } else if (tried.bits > 0 || tried.explained > 0 || tried.rows_hit > 0) {
      nearer.push_back(i);
    }
  }
  std::string text = absl::StrFormat(
      "Of %d that were tried, %d bring the replay nearer to the trace.\n",
      d.tried.size() - not_tried.size(), nearer.size());
  if (!nearer.empty()) {
    nearer.resize(std::min(nearer.size(), kMostHypotheses));
    absl::StrAppend(
        &text,
        "These are the best. Bits are the sum over points of log2 of the "
        "distance without it by that with it. Rows are of points that are "
        "within rounding: those that it moves, and those that become the "
        "trace's bits.\n\n",
        Markdown(Of(table, nearer), {"id", "explained", "spoiled", "bits",
                                     "rows_moved", "rows_hit"}));
  }
  if (!not_tried.empty()) {
    absl::StrAppend(&text, "\nNot tried: ", absl::StrJoin(not_tried, "; "),
                    ".\n");
  }
  return text;
}

}  // namespace

std::string DiagnosisReport(const RunInfo& info, absl::string_view reference,
                            const Diagnosis& d, const Results& results) {
  std::string text =
      ReportHead(absl::StrCat("Diagnosis of `", reference, "`"), info,
                 absl::StrFormat(". Compared with `%s` on %s (%s).", d.plan,
                                 TokensText(d.tokens),
                                 d.tokens_are_traces ? "the trace's" : "given"),
                 d.stopped_in);
  const auto list = [&text](absl::string_view title,
                            const std::vector<std::string>& sentences) {
    absl::StrAppend(&text, "\n## ", title, "\n\n");
    for (const std::string& sentence : sentences) {
      absl::StrAppend(&text, "- ", sentence, "\n");
    }
  };
  // A table with rows.
  const auto section =
      [&](absl::string_view title, absl::string_view about, const Table& table,
          const std::vector<std::string>& columns,
          const std::function<bool(const Row&)>& shown = nullptr) {
        if (table.rows.empty()) return;
        absl::StrAppend(&text, "\n## ", title, "\n\n", about, "\n\n",
                        Markdown(table, columns, shown));
      };
  const auto is_shown = [&info](const Table& table) {
    return [&info, layer = table.Find("layer")](const Row& row) {
      const size_t n = static_cast<size_t>(std::get<int64_t>(row[layer]));
      return n == 0 || info.IsShown(n);
    };
  };
  list("Verdict", Sentences(d));
  section("Causes",
          "Relative distances from the trace without each cause and with it. "
          "Replays: of the trace's program, by what rounding allows. Of a "
          "cancellation: errors before that layer and after it. Of rounding: "
          "replays under f32 and under the trace's arithmetic, and runs of its "
          "source alone under that and under f32.",
          results.Find("causes"),
          {"id", "kind", "first_layer", "points", "replay_without",
           "replay_with", "run_without", "run_with", "removed",
           "identical_without", "identical_with"});
  const Table& errors = results.Find("error_table");
  std::vector<std::string> columns = SeedReportColumns();
  columns.push_back("comes_from");
  section(
      "Error table",
      absl::StrFormat(
          "`%s` minus the trace, as the trace was given. \"Comes from\" has "
          "the shares of the squared error: of comparing what is not the same, "
          "of the trace's rounding in that layer, of a difference beyond that, "
          "of our rounding, of what the layer inherits, and of what it "
          "inherits and a cancellation exposes.",
          d.plan),
      errors, columns, is_shown(errors));
  text += Growths(d);
  const Table& states = results.Find("states");
  section(
      "Who is right",
      "Relative L2 distances of runs from the tokens on; the emulation is "
      "ours in the arithmetic found, with the causes.",
      states,
      {"layer", "normed", "trace_to_oracle", "ours_to_oracle", "trace_to_ours",
       "emulation_to_oracle", "trace_to_emulation", "nearer"},
      is_shown(states));
  section("Arithmetic",
          absl::StrFormat("Replays under each preset, of %d points.",
                          d.points.size()),
          results.Find("presets"),
          {"name", "holds_values", "points_explained", "points_closest",
           "mean_log2_distance"});
  section("Alignment",
          "How far replays of each layer from the state before are from state "
          "n, if that is the one after layer n + shift, in units of the "
          "layer's update.",
          results.Find("shifts"), {"shift", "mismatch", "layers"});
  section("Other tokens", results.Find("other_tokens").about,
          results.Find("other_tokens"), {"position", "token", "found"});
  const std::vector<size_t> points = ShownPoints(d);
  section(
      "Points",
      absl::StrFormat(
          "Each op's output in the trace against a replay from the trace's "
          "own values before it, under `%s`: relative L2 distances, what "
          "that arithmetic allows, and the distance with all causes "
          "found.%s",
          d.arithmetic.name,
          points.size() == d.points.size()
              ? ""
              : absl::StrFormat(
                    " Of %d points these are the ones that differ, up to "
                    "%d, and those that come nearest to it; results.json "
                    "has all.",
                    d.points.size(), kMostPoints)),
      Of(results.Find("points"), points),
      {"layer", "op", "stored_as", "held_by", "nonfinite", "distance",
       "allowed", "distance_with_causes", "identical", "closest", "status"});
  section("Not finite", results.Find("not_finite").about,
          results.Find("not_finite"),
          {"whose", "first_nonfinite", "positions_nonfinite", "heads_nonfinite",
           "channels_nonfinite", "nonfinite", "nan", "because", "magnitude",
           "emulation_first"});
  section("Descriptions", results.Find("descriptions").about,
          results.Find("descriptions"),
          {"layer", "op", "status", "positions_that_differ",
           "positions_that_agree", "heads_that_differ", "constant_factor",
           "cosine", "constant_vector_in_all_rows",
           "same_values_in_another_order", "one_factor_per_row"});
  if (!d.tried.empty()) {
    absl::StrAppend(&text, "\n## Hypotheses\n\n",
                    Hypotheses(d, results.Find("hypotheses")));
  }
  if (d.rounding.has_value()) {
    list(absl::StrCat("Where `", d.rounding->plan, "` loses accuracy"),
         Sentences(*d.rounding, nullptr));
  }
  std::vector<std::string> missing;
  for (const auto& [name, reason] : d.not_measured) {
    missing.push_back(
        absl::StrCat("`", Printable(name), "`: ", Printable(reason)));
  }
  if (!missing.empty()) list("Not measured", missing);
  return text + ReportTail(info);
}

}  // namespace ulpscope
