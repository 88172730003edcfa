#include "explorer/report/attribution_maps.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/report/figures.h"
#include "explorer/report/run_info.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

// Heads of the maps' columns, of at most five letters.
constexpr absl::string_view kHeads[kNumOps] = {
    "emb",  "in_n", "q",   "k",    "v",    "q_n", "k_n",   "rope",
    "kv_k", "kv_v", "qk",  "smax", "av",   "o",   "+attn", "p_n",
    "gate", "up",   "swi", "down", "+mlp", "f_n", "head"};

// What is not finite, or has no logarithm.
std::string Unusual(double x) {
  return std::isnan(x) ? "nan" : std::isinf(x) ? "inf" : "0";
}

std::string Log10(double x) {
  return x > 0 && std::isfinite(x) ? absl::StrFormat("%.1f", std::log10(x))
                                   : Unusual(x);
}

// log10 of what is left of the plan's error.
std::string RepairText(const Repair& repair, double plan_error) {
  if (!repair.effect.complete()) return "?";
  const double left = *repair.effect.rel_l2;
  if (left == plan_error) return ".";
  if (!(left > 0 && std::isfinite(left))) return Unusual(left);
  const double decades = std::log10(left / plan_error);
  if (!std::isfinite(decades)) return Log10(left);
  if (std::fabs(decades) < 0.005) return "~";
  return std::fabs(decades) < 10 ? absl::StrFormat("%+.2f", decades)
                                 : absl::StrFormat("%+.1f", decades);
}

// A map of cells with their texts: a row per layer, a column per op, then what
// is in no layer, with what is said of its logits.
struct MapCell {
  Cell cell;
  std::string text, of_logits;
};

std::string Map(const RunInfo& info, const std::vector<MapCell>& cells) {
  size_t width = 4;
  std::set<Op> ops;
  std::set<size_t> layers;
  for (const MapCell& c : cells) {
    if (!IsPerLayer(c.cell.op)) continue;
    ops.insert(c.cell.op);
    if (info.IsShown(c.cell.layer)) layers.insert(c.cell.layer);
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
  std::vector<std::string> names, others;
  for (const Op op : ops) {
    const absl::string_view head = kHeads[static_cast<size_t>(op)];
    if (head != OpName(op)) {
      names.push_back(absl::StrCat(head, " ", OpName(op)));
    }
  }
  for (const MapCell& c : cells) {
    if (IsPerLayer(c.cell.op)) continue;
    others.push_back(absl::StrCat(OpName(c.cell.op), " ", c.text, c.of_logits));
  }
  return absl::StrCat(text, "\n```\n\nColumns: ", absl::StrJoin(names, ", "),
                      ".\nIn no layer: ", absl::StrJoin(others, ", "), ".\n");
}

}  // namespace

std::string CauseMap(const RunInfo& info, const Attribution& a) {
  std::vector<MapCell> cells;
  for (const Cause& c : a.causes) {
    const bool shown = c.changes_bits && c.effect.rel_l2.has_value();
    cells.push_back(
        {c.cell,
         shown                 ? Log10(*c.effect.rel_l2)
         : c.effect.complete() ? "."
                               : "?",
         shown && c.effect.complete()
             ? absl::StrCat(" (logits ", Log10(*c.effect.logits_rel_l2), ")")
             : ""});
  }
  return absl::StrCat(
      "\n## Cause map\n\n"
      "The plan at one cell, the reference everywhere else: log10 of the "
      "relative "
      "L2 error of the final hidden state. `.`: no bit of any result changes; "
      "`0`: only the logits change",
      a.stopped_in.empty() ? "" : "; `?`: not finished", ".\n\n",
      Map(info, cells));
}

std::string RepairMap(const RunInfo& info, const Attribution& a) {
  std::vector<MapCell> cells;
  for (const Repair& r : a.repairs) {
    cells.push_back({r.cell, RepairText(r, *a.plan.rel_l2),
                     r.effect.complete()
                         ? absl::StrCat(" (of the logits' error ",
                                        Percent(*r.logits_gain), " gone)")
                         : ""});
  }
  return absl::StrCat(
      "\n## Repair map\n\n"
      "The reference at one cell, the plan everywhere else: log10 of what is "
      "left "
      "of the final hidden state's error (-1: a tenth; positive: worse). `.`: "
      "all of it, `~`: within 1 % of that; `0`: nothing",
      a.stopped_in.empty() ? "" : "; `?`: not finished", ".\n\n",
      Map(info, cells));
}

}  // namespace ulpscope
