#include "explorer/report/attribution_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/explain.h"
#include "explorer/report/attribution_maps.h"
#include "explorer/report/figures.h"
#include "explorer/report/frame.h"
#include "explorer/report/markdown.h"
#include "explorer/results/schema.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

using Row = std::vector<Value>;

// Ops of a layer that are named in the table.
constexpr size_t kTopOps = 3;

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

// The repairs of one scope, the largest gain first but for layers.
std::string RepairTable(const RunInfo& info, const Results& results,
                        const std::string& scope) {
  Table table = results.Find("repairs");
  const size_t gain_at = table.Find("gain");
  const auto gain = [gain_at](const Row& row) {
    const double* x = std::get_if<double>(&row[gain_at]);
    return x == nullptr || std::isnan(*x) ? -HUGE_VAL : *x;
  };
  if (scope != "layer") {
    std::stable_sort(
        table.rows.begin(), table.rows.end(),
        [&](const Row& x, const Row& y) { return gain(x) > gain(y); });
  }
  const size_t layer = table.Find("layer");
  return absl::StrCat(
      "\n", Markdown(table,
                     {scope, "rel_l2", "gain", "moved", "logits_rel_l2",
                      "logits_gain", "logits_moved", "kl_nats"},
                     [&](const Row& row) {
                       const int64_t* at = std::get_if<int64_t>(&row[layer]);
                       return std::get<std::string>(row[0]) == scope &&
                              (at == nullptr ||
                               info.IsShown(static_cast<size_t>(*at)));
                     }));
}

// A table under a heading, if it has rows.
std::string Section(const Results& results, absl::string_view name,
                    const std::vector<std::string>& columns) {
  const Table& table = results.Find(name);
  if (table.rows.empty()) return "";
  return absl::StrCat("\n", table.about, "\n\n", Markdown(table, columns));
}

}  // namespace

std::string AttributionReport(const RunInfo& info, const Explanation& e,
                              const Results& results) {
  const Attribution& a = e.attribution;
  std::string text = ReportHead(
      absl::StrCat("Attribution of `", e.plan.Text(), "`"), info,
      absl::StrCat(", on ", TokensText(e.tokens),
                   e.tokens.size() == 1 ? " alone at position 0" : "",
                   ". Errors are against the f64 oracle, over all positions; "
                   "the final hidden state is before the final norm."),
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
      Section(results, "op_shares", {"op", "squared_share", "share"}),
      Section(results, "best_repairs",
              {"scope", "layer", "op", "group", "gain", "most_moved"}),
      Section(results, "no_effect", {"op", "over_one_position"}));
  if (!a.layers.empty()) text += LayerSection(info, a, results);
  if (!a.causes.empty()) {
    absl::StrAppend(&text, CauseMap(info, a),
                    Section(results, "cause_sum", {"cosine", "norm", "rest"}));
  }
  if (!a.repairs.empty()) {
    absl::StrAppend(
        &text, RepairMap(info, a),
        "\nGone: of the plan's error. Moved: how far the results move, by the "
        "size of that error; where much moves and nothing is gone, errors "
        "cancel.\n",
        RepairTable(info, results, "group"), RepairTable(info, results, "op"),
        RepairTable(info, results, "layer"));
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
  }
  if (!results.Find("phenomena").rows.empty()) {
    absl::StrAppend(&text, "\n## Phenomena\n",
                    Section(results, "phenomena",
                            {"layer", "last_layer", "op", "kind", "channel",
                             "figure", "text"}),
                    Section(results, "massive_channels",
                            {"channel", "position", "born", "removed", "value",
                             "value_layer", "ratio_to_median", "left"}));
  }
  return text + ReportTail(info);
}

}  // namespace ulpscope
