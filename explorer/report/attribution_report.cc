#include "explorer/report/attribution_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/explain.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/position_errors.h"
#include "explorer/phenomena/large_scores.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/attribution_maps.h"
#include "explorer/report/error_fields.h"
#include "explorer/report/figures.h"
#include "explorer/report/frame.h"
#include "explorer/report/markdown.h"
#include "explorer/results/schema.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

using Row = std::vector<Value>;

// Ops of a layer that are named in the table, and how many positions, cells and
// heads are shown of all.
constexpr size_t kTopOps = 3;
constexpr size_t kTopPositions = 5;
constexpr size_t kTopCauses = 5;
constexpr size_t kTopScores = 10;

// "mlp_residual 1.2e-03 (61.0 %), ...": the ops with the largest local errors.
std::string TopOps(std::vector<OpError> ops) {
  std::stable_sort(ops.begin(), ops.end(),
                   [](const OpError& x, const OpError& y) {
                     // NaN last, so that the order is strict and weak.
                     if (std::isnan(x.rel_l2) || std::isnan(y.rel_l2)) {
                       return !std::isnan(x.rel_l2) && std::isnan(y.rel_l2);
                     }
                     return x.rel_l2 > y.rel_l2;
                   });
  std::vector<std::string> named;
  for (const OpError& op : ops) {
    if (named.size() == kTopOps || op.rel_l2 == 0) break;
    named.push_back(absl::StrFormat("%s %.1e (%s)", OpName(op.op), op.rel_l2,
                                    Percent(op.share)));
  }
  return absl::StrJoin(named, ", ");
}

std::string LayerSection(const RunInfo& info, const Attribution& a,
                         const Results& results) {
  Table table = results.Find("layers");
  Column& ops = table.columns.emplace_back();
  ops.name = "ops";
  ops.title = "Local error by op";
  for (size_t i = 0; i < table.rows.size(); ++i) {
    table.rows[i].emplace_back(TopOps(a.layers[i].ops));
  }
  const size_t layer = table.Find("layer");
  return absl::StrCat(
      "\n## Where it arises, layer by layer\n\nRelative L2 errors of the "
      "residual stream after each layer. Total = inherited + local, as "
      "vectors; amplification is of what was inherited, absolute and relative "
      "to the stream. Shares are of the layer's local error.\n\n",
      Markdown(table,
               {"layer", "total_rel_l2", "inherited_rel_l2", "local_rel_l2",
                "amplification", "relative_amplification", "ops"},
               [&](const Row& row) {
                 return info.IsShown(
                     static_cast<size_t>(std::get<int64_t>(row[layer])));
               }));
}

// A table under a heading, if it has rows.
std::string Section(const Results& results, absl::string_view name,
                    const std::vector<std::string>& columns) {
  const Table& table = results.Find(name);
  if (table.rows.empty()) return "";
  return absl::StrCat("\n", table.about, "\n\n", Markdown(table, columns));
}

// A figure of a row; what there is none of, and a NaN, is the smallest.
double FigureOf(const Table& table, const Row& row, absl::string_view column) {
  const double* x = std::get_if<double>(&row[table.Find(column)]);
  return x == nullptr || std::isnan(*x) ? -HUGE_VAL : *x;
}

// The rows with the largest figures, and at most so many.
Table Largest(Table table, absl::string_view column, size_t count) {
  std::stable_sort(
      table.rows.begin(), table.rows.end(), [&](const Row& x, const Row& y) {
        return FigureOf(table, x, column) > FigureOf(table, y, column);
      });
  table.rows.resize(std::min(table.rows.size(), count));
  return table;
}

// Whether there is a massive activation: then figures over the other positions
// are other figures.
bool HasMassive(const Attribution& a) {
  return std::any_of(a.positions.begin(), a.positions.end(),
                     [](const PositionError& p) { return p.massive; });
}

// The repairs of one scope, the largest gain first but for layers.
std::string RepairTable(const RunInfo& info, const Attribution& a,
                        const Results& results, const std::string& scope) {
  Table table = results.Find("repairs");
  if (scope != "layer") table = Largest(std::move(table), "gain", SIZE_MAX);
  std::vector<std::string> columns = {
      scope,           "rel_l2",      "gain",         "moved",
      "logits_rel_l2", "logits_gain", "logits_moved", "kl_nats"};
  if (HasMassive(a)) {
    columns.insert(columns.end(), {"ordinary_rel_l2", "ordinary_logits_rel_l2",
                                   "ordinary_kl_nats"});
  }
  const size_t layer = table.Find("layer");
  return absl::StrCat(
      "\n", Markdown(table, columns, [&](const Row& row) {
        const int64_t* at = std::get_if<int64_t>(&row[layer]);
        return std::get<std::string>(row[0]) == scope &&
               (at == nullptr || info.IsShown(static_cast<size_t>(*at)));
      }));
}

// Which positions have the error: those with the most, of several.
std::string PositionSection(const Explanation& e, const Results& results) {
  const Table& table = results.Find("positions");
  if (table.rows.size() < 2) return "";
  std::string text = absl::StrCat(
      "\n## Which positions have the error\n\n",
      table.rows.size() > kTopPositions
          ? absl::StrFormat("The %d of %d with most of the final hidden "
                            "state's squared error.\n\n",
                            kTopPositions, table.rows.size())
          : "",
      Markdown(Largest(table, "squared_share", kTopPositions),
               {"position", "token", "massive", "squared_share", "rel_l2",
                "logits_squared_share", "kl_nats", "kl_share", "changes_token",
                "matters"}));
  if (!HasMassive(e.attribution)) return text;
  return absl::StrCat(
      text,
      "\nOver all positions, and over the ordinary ones, those without a "
      "massive activation:\n\n",
      Markdown(results.Find("effect"),
               {"rel_l2", "ordinary_rel_l2", "logits_rel_l2",
                "ordinary_logits_rel_l2", "kl_nats", "ordinary_kl_nats"}));
}

// The cells with the largest errors, with the positions that have these.
std::string LargestCauses(const Explanation& e, const Results& results) {
  const Table& cells = results.Find("cells");
  std::vector<std::string> columns = {"layer",
                                      "op",
                                      "strategy",
                                      "rel_l2",
                                      "logits_rel_l2",
                                      "peak_position",
                                      "peak_squared_share"};
  if (HasMassive(e.attribution)) {
    columns.push_back("ordinary_rel_l2");
    columns.push_back("ordinary_logits_rel_l2");
  }
  const Table largest = Largest(cells, "rel_l2", kTopCauses);
  if (e.tokens.size() < 2 || largest.rows.empty() ||
      !(FigureOf(largest, largest.rows[0], "rel_l2") > 0)) {
    return "";
  }
  return absl::StrCat(
      "\nThe largest of them, and where they have most of their squared "
      "error:\n\n",
      Markdown(largest, columns, [&](const Row& row) {
        return FigureOf(largest, row, "rel_l2") > 0;
      }));
}

// Every op's part that is more than chance.
std::string OpSharesSection(const Results& results) {
  Table table = results.Find("op_shares");
  const size_t all = table.rows.size();
  const size_t is = table.Find("distinguishable");
  table.rows.erase(
      std::remove_if(table.rows.begin(), table.rows.end(),
                     [is](const Row& row) { return !std::get<bool>(row[is]); }),
      table.rows.end());
  if (table.rows.empty()) return "";
  return absl::StrCat(
      "\n", table.about,
      table.rows.size() < all
          ? absl::StrFormat(
                " %d others are left out: over the positions they cannot be "
                "told from none.",
                all - table.rows.size())
          : "",
      "\n\n",
      Markdown(table, {"op", "squared_share", "squared_share_error", "share"}));
}

// The heads whose largest score is held so coarsely that it shows.
std::string LargeScoreSection(const Phenomena& phenomena,
                              const Results& results) {
  Table table = results.Find("large_scores");
  std::vector<Row> named;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    if (IsNamed(phenomena.large_scores[i])) named.push_back(table.rows[i]);
  }
  if (named.empty()) return "";
  const size_t heads = table.rows.size(), count = named.size();
  table.rows = std::move(named);
  // Of equal spacings the larger scores first.
  const size_t score = table.Find("score");
  std::stable_sort(table.rows.begin(), table.rows.end(),
                   [score](const Row& x, const Row& y) {
                     return std::fabs(std::get<double>(x[score])) >
                            std::fabs(std::get<double>(y[score]));
                   });
  return absl::StrCat(
      absl::StrFormat(
          "\nThe largest score of a head, where one spacing of what holds it "
          "can change a softmax weight by more than %s (e^spacing - 1): %d of "
          "%d heads%s.\n\n",
          Percent(kNamedWeightError), count, heads,
          count > kTopScores
              ? absl::StrFormat(", the first %d by it", kTopScores)
              : ""),
      Markdown(Largest(std::move(table), "weight_factor", kTopScores),
               {"layer", "head", "position", "key_position", "score", "weight",
                "format", "spacing", "rounding_factor", "weight_factor"}));
}

}  // namespace

std::string AttributionReport(const RunInfo& info, const Explanation& e,
                              const Results& results) {
  const Attribution& a = e.attribution;
  std::string text = ReportHead(
      absl::StrCat("Attribution of `", e.plan.Text(), "`"), info,
      absl::StrCat(", on ", TokensText(e.tokens),
                   e.tokens.size() == 1 ? " alone at position 0" : "",
                   ". Errors are against the reference, ",
                   IsAgainstPlan(e.verdict)
                       ? absl::StrCat("`", e.reference.Text(), "`")
                       : "the f64 oracle",
                   ", over all positions; the final hidden state is before the "
                   "final norm."),
      e.stopped_in);
  text += "\n## Verdict\n\n";
  for (const Row& sentence : results.Find("sentences").rows) {
    absl::StrAppend(&text, "- ", std::get<std::string>(sentence[0]), "\n");
  }
  absl::StrAppend(
      &text, Section(results, "nonfinite_cells", {"layer", "op"}),
      Section(results, "source",
              {"channel", "channel_error_share", "value", "value_layer",
               "position", "ratio_to_median", "born", "removed", "format",
               "spacing", "isolated_rel_l2"}),
      Section(results, "source_gains", {"op", "gain", "moved"}),
      Section(results, "source_parts",
              {"part", "layer", "ops", "squared_share"}),
      Section(results, "source_upgrades", {"strategy", "rel_l2"}),
      Section(results, "cures",
              {"scope", "strategy", "entries", "rel_l2", "rel_l2_on_average"}),
      OpSharesSection(results),
      Section(results, "best_repairs",
              {"scope", "layer", "op", "group", "gain", "most_moved"}),
      Section(results, "no_effect", {"op", "over_one_position"}));
  absl::StrAppend(&text,
                  Section(results, "truth",
                          {"whose", "plan", "rel_l2", "logits_rel_l2",
                           "kl_nats", "ordinary_rel_l2",
                           "ordinary_logits_rel_l2", "ordinary_kl_nats"}),
                  PositionSection(e, results));
  if (!a.layers.empty()) text += LayerSection(info, a, results);
  if (!a.causes.empty()) {
    absl::StrAppend(&text, CauseMap(info, a), LargestCauses(e, results),
                    Section(results, "cause_sum", {"cosine", "norm", "rest"}));
  }
  if (!a.repairs.empty()) {
    absl::StrAppend(
        &text, RepairMap(info, a),
        "\nGone: of the plan's error. Moved: how far the results move, by the "
        "size of that error; where much moves and nothing is gone, errors "
        "cancel.\n",
        RepairTable(info, a, results, "group"),
        RepairTable(info, a, results, "op"),
        RepairTable(info, a, results, "layer"));
  }
  if (e.repair.has_value()) {
    absl::StrAppend(
        &text, "\n## Minimal repair: ", BudgetText(e.repair->budget), "\n",
        Section(results, "upgrade_sets", {"set", "cells", "error", "plan"}),
        Section(results, "upgrades", {"set", "op", "strategy", "layers"}));
    if (e.repair->cost.has_value()) {
      absl::StrAppend(
          &text, "\n",
          Markdown(
              results.Find("minimal_repair"),
              {"plan_decode_tokens_per_second", "decode_tokens_per_second",
               "decode_ratio±decode_ratio_half_iqr",
               "plan_prefill_tokens_per_second", "prefill_tokens_per_second",
               "prefill_ratio±prefill_ratio_half_iqr"}));
    }
    if (e.repair->emulated) {
      absl::StrAppend(
          &text, "\nWhat it costs is not measured: `", kEmulated,
          "` by this CPU, whose time says nothing of these plans.\n");
    }
  }
  if (!results.Find("phenomena").rows.empty()) {
    absl::StrAppend(&text, "\n## Phenomena\n",
                    Section(results, "phenomena",
                            {"layer", "last_layer", "op", "kind", "channel",
                             "figure", "text"}),
                    Section(results, "massive_channels",
                            {"channel", "position", "born", "removed", "value",
                             "value_layer", "ratio_to_median", "left"}),
                    Section(results, "flips",
                            {"channel", "position", "born", "in_plan", "value",
                             "value_layer", "other"}),
                    Section(results, "near_ties",
                            {"position", "next_token", "rival", "margin",
                             "margin_error", "changes"}),
                    LargeScoreSection(e.phenomena, results));
  }
  return text + ReportTail(info);
}

}  // namespace ulpscope
