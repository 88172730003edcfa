#include "explorer/report/attribution_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/budget.h"
#include "explorer/error/evaluation.h"
#include "explorer/report/attribution_maps.h"
#include "explorer/report/figures.h"
#include "explorer/report/run_info.h"
#include "explorer/report/verdict_text.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// Ops of a layer that are named in the table.
constexpr size_t kTopOps = 3;

// Tokens that are listed; of more, the number.
constexpr size_t kMostTokens = 16;

std::string Header(const RunInfo& info, const AttributionResults& r) {
  const std::string tokens =
      r.tokens.size() == 1
          ? absl::StrCat("token ", r.tokens[0], " alone at position 0")
      : r.tokens.size() <= kMostTokens
          ? absl::StrCat("tokens ", absl::StrJoin(r.tokens, ","))
          : absl::StrCat(r.tokens.size(), " tokens");
  return absl::StrFormat(
      "# Attribution of `%s`\n\n%s\n\nRun on %s, target %s, %d threads, on %s. "
      "Errors are against the f64 oracle, over all positions; the final hidden "
      "state is before the final norm.\n",
      r.plan->Text(), ModelLine(info), info.cpu, info.target, info.threads,
      tokens);
}

std::string LayerTable(const RunInfo& info, const Attribution& a) {
  std::string text =
      "\n## Where it arises, layer by layer\n\n"
      "Relative L2 errors of the residual stream after each layer. Total = "
      "inherited + local, as vectors; amplification is of what was inherited, "
      "absolute and relative to the stream. Shares are of the layer's local "
      "error.\n\n"
      "| Layer | Total | Inherited | Local | Amplification | Relative | Local "
      "error by op |\n"
      "|------:|------:|----------:|------:|--------------:|---------:|-------"
      "--------|\n";
  for (const LayerSplit& split : a.layers) {
    if (!info.IsShown(split.layer)) continue;
    std::vector<OpError> ops = split.ops;
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
    absl::StrAppendFormat(
        &text, "| %d | %s | %s | %s | %.3g | %.3g | %s |\n", split.layer,
        Scientific(split.total.rel_l2), Scientific(split.inherited.rel_l2),
        Scientific(split.local.rel_l2), split.amplification,
        split.relative_amplification, absl::StrJoin(named, ", "));
  }
  return text;
}

// The largest gain first, or in the order given.
std::string RepairTable(absl::string_view what, std::vector<Repair> repairs,
                        bool sort, std::string (*name)(const Cell& cell)) {
  if (repairs.empty()) return "";
  if (sort) {
    std::stable_sort(repairs.begin(), repairs.end(),
                     [](const Repair& x, const Repair& y) {
                       if (std::isnan(x.gain) || std::isnan(y.gain)) {
                         return !std::isnan(x.gain) && std::isnan(y.gain);
                       }
                       return x.gain > y.gain;
                     });
  }
  std::string text = absl::StrFormat(
      "\n| %s | Rel L2 | Gone | Moved | Logits rel L2 | Gone | Moved | KL "
      "(nats) |\n|---|------:|-----:|-----:|------:|-----:|-----:|------:|\n",
      what);
  for (const Repair& repair : repairs) {
    if (!repair.effect.complete) {
      absl::StrAppend(&text, "| ", name(repair.cell),
                      " | ? | ? | ? | ? | ? | ? | ? |\n");
      continue;
    }
    absl::StrAppendFormat(
        &text, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", name(repair.cell),
        Scientific(repair.effect.rel_l2), Percent(repair.gain),
        Percent(repair.moved), Scientific(repair.effect.logits_rel_l2),
        Percent(repair.logits_gain), Percent(repair.logits_moved),
        Scientific(repair.effect.kl));
  }
  return text;
}

std::string RepairTables(const RunInfo& info, const Attribution& a) {
  std::vector<Repair> layers;
  for (const Repair& repair : a.layer_repairs) {
    if (info.IsShown(repair.cell.layer)) layers.push_back(repair);
  }
  std::string text =
      "\nGone: of the plan's error. Moved: how far the results move, by the "
      "size of that error; where much moves and nothing is gone, errors "
      "cancel.\n";
  text += RepairTable("Group", a.group_repairs, true, [](const Cell& cell) {
    return std::string(KernelName(OpKernel(cell.op)));
  });
  text += RepairTable(
      "Op, in all layers", a.op_repairs, true,
      [](const Cell& cell) { return std::string(OpName(cell.op)); });
  text += RepairTable("Layer, all ops", layers, false, [](const Cell& cell) {
    return absl::StrCat(cell.layer);
  });
  return text;
}

std::string MinimalRepair(const RepairResult& r) {
  std::string text = absl::StrFormat(
      "\n## Minimal repair: %s\n\nThe plan has %s. %d streams were run in %d "
      "passes over the weights.\n",
      BudgetText(r.budget), Scientific(r.error_before), r.streams, r.passes);
  if (!r.stopped_in.empty()) {
    absl::StrAppend(&text, "\nThe search was stopped at: ", r.stopped_in,
                    ".\n");
  }
  if (!r.reached || r.repair.upgrades.empty()) return text;
  absl::StrAppendFormat(&text,
                        "\n`%s`: %d cells, %.3e; the plan is then `%s`.\n",
                        absl::StrJoin(r.entries, ","), r.repair.cells(),
                        r.repair.error, r.repair.plan.Text());
  for (const UpgradeSet& other : r.alternatives) {
    absl::StrAppendFormat(&text, "\nAs small: `%s`, %.3e.\n", other.plan.Text(),
                          other.error);
  }
  if (r.cost.has_value()) {
    absl::StrAppendFormat(
        &text,
        "\n| | Plan | Repaired | Ratio |\n"
        "|--|-----:|-----:|-----:|\n"
        "| Decode tok/s | %s | %s | %s |\n"
        "| Prefill tok/s | %s | %s | %s |\n",
        Rate(r.cost->plan_decode), Rate(r.cost->repaired_decode),
        Ratio(r.cost->decode_ratio), Rate(r.cost->plan_prefill),
        Rate(r.cost->repaired_prefill), Ratio(r.cost->prefill_ratio));
  }
  return text;
}

}  // namespace

std::string AttributionText(const RunInfo& info,
                            const AttributionResults& results) {
  const Attribution& a = *results.attribution;
  std::string text = Header(info, results);
  if (!results.stopped_in.empty()) {
    absl::StrAppend(&text, "\n**Stopped by ", info.stopped_by, " in ",
                    results.stopped_in,
                    ".** What is missing is not shown, or a `?`.\n");
  }
  text += "\n## Verdict\n\n";
  for (const std::string& sentence :
       Sentences(*results.verdict, results.repair)) {
    absl::StrAppend(&text, "- ", sentence, "\n");
  }
  if (!a.layers.empty()) text += LayerTable(info, a);
  if (!a.causes.empty()) text += CauseMap(info, a);
  if (!a.repairs.empty()) {
    absl::StrAppend(&text, RepairMap(info, a), RepairTables(info, a));
  }
  if (results.repair != nullptr) text += MinimalRepair(*results.repair);
  if (!results.phenomena_lines.empty()) {
    text += "\n## Phenomena\n\n";
    for (const std::string& line : results.phenomena_lines) {
      absl::StrAppend(&text, "- ", line, "\n");
    }
  }
  if (info.synthetic) {
    absl::StrAppend(&text, "\nAll figures are of SYNTHETIC weights (",
                    info.model, "), not of a trained model.\n");
  }
  return text;
}

}  // namespace ulpscope
