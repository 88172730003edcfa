#include "explorer/attribution_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution.h"
#include "explorer/budget.h"
#include "explorer/evaluation.h"
#include "explorer/repair.h"
#include "explorer/report.h"
#include "explorer/upgrade.h"
#include "explorer/verdict.h"
#include "explorer/verdict_text.h"
#include "kernels/strategy.h"
#include "model/op.h"
#include "model/plan.h"

namespace ulpscope {
namespace {

// Heads of the maps' columns, of at most five letters.
constexpr absl::string_view kHeads[kNumOps] = {
    "emb",  "in_n", "q",    "k",    "v",    "q_n",   "k_n",
    "rope", "qk",   "smax", "av",   "o",    "+attn", "p_n",
    "gate", "up",   "swi",  "down", "+mlp", "f_n",   "head"};

// Ops of a layer that are named in the table.
constexpr size_t kTopOps = 3;

// Tokens that are listed; of more, the number.
constexpr size_t kMostTokens = 16;

std::string Percent(double share) {
  return std::isnan(share) ? "-" : absl::StrFormat("%.1f %%", 100 * share);
}

bool IsShown(const RunInfo& info, size_t layer) {
  return info.layers.empty() || info.layers.count(layer) > 0;
}

// What is not finite, or has no logarithm.
std::string Unusual(double x) {
  return std::isnan(x) ? "nan" : std::isinf(x) ? "inf" : "0";
}

std::string Log10(double x) {
  return x > 0 && std::isfinite(x) ? absl::StrFormat("%.1f", std::log10(x))
                                   : Unusual(x);
}

std::string CauseText(const Cause& cause) {
  if (!cause.effect.complete) return "?";
  return cause.changes_bits ? Log10(cause.effect.rel_l2) : ".";
}

// log10 of what is left of the plan's error.
std::string RepairText(const Repair& repair, double plan_error) {
  if (!repair.effect.complete) return "?";
  const double left = repair.effect.rel_l2;
  if (left == plan_error) return ".";
  if (!(left > 0 && std::isfinite(left))) return Unusual(left);
  const double decades = std::log10(left / plan_error);
  if (!std::isfinite(decades)) return Log10(left);
  if (std::fabs(decades) < 0.005) return "~";
  return std::fabs(decades) < 10 ? absl::StrFormat("%+.2f", decades)
                                 : absl::StrFormat("%+.1f", decades);
}

// A map of cells with their texts: a row per layer, a column per op.
struct MapCell {
  Cell cell;
  std::string text;
};

std::string Map(const RunInfo& info, const std::vector<MapCell>& cells) {
  size_t width = 4;
  std::set<Op> ops;
  std::set<size_t> layers;
  for (const MapCell& c : cells) {
    if (!IsPerLayer(c.cell.op)) continue;
    ops.insert(c.cell.op);
    if (IsShown(info, c.cell.layer)) layers.insert(c.cell.layer);
    width = std::max(width, c.text.size());
  }
  for (const Op op : ops) {
    width = std::max(width, kHeads[static_cast<size_t>(op)].size());
  }
  std::string text = "```\nLayer";
  for (const Op op : ops) {
    absl::StrAppendFormat(&text, " %*s", width,
                          kHeads[static_cast<size_t>(op)]);
  }
  for (const size_t layer : layers) {
    absl::StrAppendFormat(&text, "\n%5d", layer);
    for (const Op op : ops) {
      std::string shown;
      for (const MapCell& c : cells) {
        if (c.cell.layer == layer && c.cell.op == op) shown = c.text;
      }
      absl::StrAppendFormat(&text, " %*s", width, shown);
    }
  }
  text += "\n```\n";
  return text;
}

std::string Legend(const std::vector<Cause>& causes) {
  std::vector<std::string> names;
  for (size_t i = 0; i < kNumOps; ++i) {
    const bool has_column =
        std::any_of(causes.begin(), causes.end(), [i](const Cause& cause) {
          return cause.cell.op == OpAt(i) && IsPerLayer(OpAt(i));
        });
    if (has_column && kHeads[i] != OpName(OpAt(i))) {
      names.push_back(absl::StrCat(kHeads[i], " ", OpName(OpAt(i))));
    }
  }
  return absl::StrCat("Columns: ", absl::StrJoin(names, ", "), ".\n");
}

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
    if (!IsShown(info, split.layer)) continue;
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
        &text, "| %d | %.3e | %.3e | %.3e | %.3g | %.3g | %s |\n", split.layer,
        split.total.rel_l2, split.inherited.rel_l2, split.local.rel_l2,
        split.amplification, split.relative_amplification,
        absl::StrJoin(named, ", "));
  }
  return text;
}

std::string CauseMap(const RunInfo& info, const Attribution& a) {
  std::vector<MapCell> cells;
  std::vector<std::string> others;
  for (const Cause& cause : a.causes) {
    cells.push_back({cause.cell, CauseText(cause)});
    if (IsPerLayer(cause.cell.op)) continue;
    others.push_back(absl::StrCat(
        OpName(cause.cell.op), " ", CauseText(cause),
        cause.changes_bits && cause.effect.complete
            ? absl::StrCat(" (logits ", Log10(cause.effect.logits_rel_l2), ")")
            : ""));
  }
  return absl::StrCat(
      "\n## Cause map\n\n"
      "The plan at one cell, the oracle everywhere else: log10 of the relative "
      "L2 error of the final hidden state. `.`: no bit of any result changes; "
      "`0`: only the logits change",
      a.stopped_in.empty() ? "" : "; `?`: not finished", ".\n\n",
      Map(info, cells), "\n", Legend(a.causes),
      "In no layer: ", absl::StrJoin(others, ", "), ".\n",
      absl::StrFormat("The cells' error vectors add up to a vector of %.3g of "
                      "the norm of the plan's, at a cosine of %.4f with it; "
                      "%.3g of its norm is left.\n",
                      a.sum_norm, a.sum_cosine, a.sum_rest));
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
        &text, "| %s | %.3e | %s | %s | %.3e | %s | %s | %.2e |\n",
        name(repair.cell), repair.effect.rel_l2, Percent(repair.gain),
        Percent(repair.moved), repair.effect.logits_rel_l2,
        Percent(repair.logits_gain), Percent(repair.logits_moved),
        repair.effect.kl);
  }
  return text;
}

std::string RepairMap(const RunInfo& info, const Attribution& a) {
  std::vector<MapCell> cells;
  std::vector<std::string> others;
  for (const Repair& repair : a.repairs) {
    const std::string text = RepairText(repair, a.plan.rel_l2);
    cells.push_back({repair.cell, text});
    if (IsPerLayer(repair.cell.op)) continue;
    others.push_back(
        absl::StrCat(OpName(repair.cell.op), " ", text,
                     repair.effect.complete
                         ? absl::StrCat(" (of the logits' error ",
                                        Percent(repair.logits_gain), " gone)")
                         : ""));
  }
  std::string text = absl::StrCat(
      "\n## Repair map\n\n"
      "The oracle at one cell, the plan everywhere else: log10 of what is left "
      "of the final hidden state's error (-1: a tenth; positive: worse). `.`: "
      "all of it, `~`: within 1 % of that; `0`: nothing",
      a.stopped_in.empty() ? "" : "; `?`: not finished", ".\n\n",
      Map(info, cells), "\nIn no layer: ", absl::StrJoin(others, ", "), ".\n");
  std::vector<Repair> layers;
  for (const Repair& repair : a.layer_repairs) {
    if (IsShown(info, repair.cell.layer)) layers.push_back(repair);
  }
  text +=
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

std::string Rate(const Spread& rate) {
  return absl::StrFormat("%.1f ± %.1f", rate.median, rate.half_iqr);
}

std::string Ratio(const Spread& ratio) {
  return absl::StrFormat("%.3f ± %.3f", ratio.median, ratio.half_iqr);
}

std::string MinimalRepair(const RepairResult& r) {
  std::string text = absl::StrFormat(
      "\n## Minimal repair: %s\n\nThe plan has %.3e. %d streams were run in %d "
      "passes over the weights.\n",
      BudgetText(r.budget), r.error_before, r.streams, r.passes);
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
  if (!a.repairs.empty()) text += RepairMap(info, a);
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

std::string AttributionCsv(const RunInfo& info,
                           const AttributionResults& results) {
  std::string text =
      "model,synthetic,plan,tokens,map,layer,op,strategy,complete,changes_bits,"
      "rel_l2,logits_rel_l2,kl,share,cosine,gain,logits_gain,moved,"
      "logits_moved\n";
  const std::string start = absl::StrCat(
      CsvField(info.model), info.synthetic ? ",true," : ",false,",
      CsvField(results.plan->Text()), ",", results.tokens.size(), ",");
  // One row; NaN leaves a field empty.
  const auto append = [&](absl::string_view map, absl::string_view layer,
                          absl::string_view op, absl::string_view strategy,
                          absl::string_view changes_bits, const Effect& effect,
                          const std::vector<double>& more) {
    absl::StrAppend(&text, start, map, ",", layer, ",", op, ",", strategy, ",",
                    effect.complete ? "true," : "false,", changes_bits);
    std::vector<double> all = {effect.rel_l2, effect.logits_rel_l2, effect.kl};
    all.insert(all.end(), more.begin(), more.end());
    for (const double x : all) {
      absl::StrAppend(&text, ",",
                      std::isnan(x) ? "" : absl::StrFormat("%.17g", x));
    }
    text += "\n";
  };
  const auto layer_of = [](const Cell& cell) {
    return absl::StrCat(cell.layer);
  };
  const auto strategy_at = [&results](const Cell& cell) {
    return results.plan->Get(cell.layer, cell.op).name();
  };
  const double none = std::numeric_limits<double>::quiet_NaN();
  const auto figures = [none](const Repair& r) -> std::vector<double> {
    return {none, none, r.gain, r.logits_gain, r.moved, r.logits_moved};
  };
  const Attribution& a = *results.attribution;
  append("plan", "", "", "", "", a.plan, {none, none, none, none, none, none});
  for (const Cause& c : a.causes) {
    append("cause", layer_of(c.cell), OpName(c.cell.op), strategy_at(c.cell),
           c.changes_bits ? "true" : "false", c.effect,
           {c.share, c.cosine, none, none, none, none});
  }
  for (const Repair& r : a.repairs) {
    append("repair", layer_of(r.cell), OpName(r.cell.op), strategy_at(r.cell),
           "", r.effect, figures(r));
  }
  for (const Repair& r : a.op_repairs) {
    append("op_repair", "", OpName(r.cell.op), "", "", r.effect, figures(r));
  }
  for (const Repair& r : a.group_repairs) {
    append("group_repair", "", KernelName(OpKernel(r.cell.op)), "", "",
           r.effect, figures(r));
  }
  for (const Repair& r : a.layer_repairs) {
    append("layer_repair", layer_of(r.cell), "", "", "", r.effect, figures(r));
  }
  return text;
}

}  // namespace ulpscope
