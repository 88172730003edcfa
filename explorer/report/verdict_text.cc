#include "explorer/report/verdict_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/budget.h"
#include "explorer/report/figures.h"
#include "kernels/base/format.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// A gain that is not worth a repair.
constexpr double kSmallGain = 0.1;

// How far a repair must move the results, of the plan's error, for its small
// gain to be a cancelling of errors. An independent error of half the size
// would account for a gain of 1 - sqrt(1 - 1/4), 13 %.
constexpr double kCancelling = 0.5;

// Ops that are listed where there may be twenty.
constexpr size_t kMostOps = 5;

// "a", "a and b", "a, b and c".
std::string List(const std::vector<std::string>& items) {
  if (items.size() < 2) return absl::StrJoin(items, "");
  return absl::StrCat(absl::StrJoin(items.begin(), items.end() - 1, ", "),
                      " and ", items.back());
}

std::string OpList(const std::vector<Op>& ops) {
  std::vector<std::string> names;
  names.reserve(ops.size());
  for (const Op op : ops) names.emplace_back(OpName(op));
  return List(names);
}

std::string Headline(const Verdict& v) {
  if (v.exact) {
    return absl::StrCat("`", v.plan,
                        "` has no error here: its final hidden state and its "
                        "logits are the oracle's (relative L2 error 0).");
  }
  if (!std::isfinite(v.rel_l2) || !std::isfinite(v.logits_rel_l2)) {
    return absl::StrCat(
        "`", v.plan,
        v.stopped_in.empty() || v.nonfinite_from.has_value()
            ? "` breaks down: its results hold infinities or NaN."
            : "` was not run to its end: its error is not known.");
  }
  return absl::StrFormat(
      "`%s` ends with a relative L2 error of %.3g of the final hidden state "
      "and %.3g of the logits (KL %.3g nats).",
      v.plan, v.rel_l2, v.logits_rel_l2, v.kl);
}

std::string Nonfinite(const Verdict& v) {
  std::vector<std::string> cells;
  for (const Cell& cell : v.nonfinite_cells) {
    if (cells.size() == kMostOps) break;
    cells.push_back(
        absl::StrCat(OpName(cell.op),
                     IsPerLayer(cell.op) ? absl::StrCat("@", cell.layer) : ""));
  }
  std::string text;
  if (v.nonfinite_from.has_value()) {
    text = absl::StrFormat(
        "From layer %d on its stream holds them: no part of that is any op's "
        "share.",
        *v.nonfinite_from);
  }
  if (cells.empty()) return text;
  absl::StrAppend(&text, text.empty() ? "" : " ",
                  "Alone, each of these cells gives results that are not "
                  "finite: ",
                  List(cells));
  if (v.nonfinite_cells.size() > cells.size()) {
    absl::StrAppend(&text, ", and ", v.nonfinite_cells.size() - cells.size(),
                    " more");
  }
  return absl::StrCat(text, ".");
}

std::string Channel(const SourceChannel& c) {
  const std::string share = absl::StrFormat(
      " channel has %s of the stream's squared error there (mean over the "
      "layers).",
      Percent(c.error_share));
  if (!c.massive) {
    return absl::StrFormat("It goes through channel %d. The%s", c.channel,
                           share);
  }
  return absl::StrFormat(
      "It goes through channel %d, a massive activation: born in %s, %s, "
      "%s at its largest (after layer %d, position %d), %s times the median. "
      "%s%s",
      c.channel, c.born == 0 ? "the embedding" : absl::StrCat("layer ", c.born),
      c.removed == 0 ? "never removed"
                     : absl::StrCat("removed in layer ", c.removed),
      Number(c.value), c.value_layer, c.position, Number(c.ratio_to_median),
      c.rounded ? absl::StrFormat("These ops round it to %s, whose spacing at "
                                  "that size is %g; the",
                                  FormatName(c.format), c.spacing)
                : "The",
      share);
}

void AppendSource(const Verdict& v, std::vector<std::string>& sentences) {
  const ErrorSource& s = *v.source;
  sentences.push_back(absl::StrCat(
      "The main source is rounding in ", OpList(s.ops),
      s.first_layer == 0
          ? ""
          : absl::StrCat(" at ", LayerRangeText(s.first_layer, s.last_layer)),
      ": of the squared errors that all (layer, op) cells make, each run "
      "alone, these make ",
      Percent(s.squared_share),
      // Of cells that do not add up it is no part of anything.
      v.interaction.has_value() && v.interaction->adds_up
          ? absl::StrCat(" (and ", Percent(s.share), " of the plan's error",
                         s.share > 1 ? ", of which others cancel a part)" : ")")
          : "",
      "."));
  if (!s.channel.has_value()) return;
  sentences.push_back(Channel(*s.channel));
  std::vector<std::string> parts;
  const auto append = [&parts](const std::optional<SourcePart>& part,
                               absl::string_view what) {
    if (!part.has_value()) return;
    parts.push_back(absl::StrFormat("%s at layer %d, %s (%s)",
                                    OpList(part->ops), part->layer, what,
                                    Percent(part->squared_share)));
  };
  append(s.makes, "where it is made");
  append(s.until_removal, "which still read it where it is removed");
  append(s.removes, "where what removes it is computed");
  if (!parts.empty()) {
    sentences.push_back(absl::StrCat(
        "Other cells act on that value (shares of the same squared errors): ",
        absl::StrJoin(parts, "; "), "."));
  }
}

void AppendIsolated(const ErrorSource& s, std::vector<std::string>& sentences) {
  if (!s.isolated.has_value()) return;
  const bool one = s.ops.size() == 1;
  std::string text = absl::StrFormat(
      "By %s, in all layers and with the oracle in all other ops, %s %s an "
      "error of %.3g",
      one ? "itself" : "themselves", OpList(s.ops), one ? "gives" : "give",
      s.isolated->rel_l2);
  std::vector<std::string> upgraded;
  for (const Isolated::Upgraded& u : s.isolated->upgraded) {
    upgraded.push_back(
        absl::StrFormat("%.3g under %s", u.rel_l2, u.strategy.name()));
  }
  if (!upgraded.empty()) absl::StrAppend(&text, "; ", List(upgraded));
  sentences.push_back(text + ".");
}

void AppendCures(const Verdict& v, std::vector<std::string>& sentences) {
  const ErrorSource& s = *v.source;
  double best = v.rel_l2;
  for (const CureScope scope :
       {CureScope::kSource, CureScope::kOps, CureScope::kChannel}) {
    std::string text;
    for (const Cure& cure : s.cures) {
      if (cure.scope != scope) continue;
      best = std::min(best, cure.rel_l2);
      if (text.empty()) {
        text = absl::StrFormat(
            "In the plan, with `%s` the error is %.3g "
            "instead of %.3g",
            absl::StrJoin(cure.entries, ","), cure.rel_l2, v.rel_l2);
        // Of many roundings, one sum is far from their average.
        const double left = LeftOnAverage(v, scope);
        if (std::isfinite(left)) {
          absl::StrAppendFormat(&text,
                                " (all other cells, if independent, "
                                "give %.3g on average)",
                                left);
        }
      } else {
        absl::StrAppendFormat(&text, ", with %s there %.3g",
                              cure.strategy.name(), cure.rel_l2);
      }
    }
    if (!text.empty()) sentences.push_back(text + ".");
  }
  if (!s.cures.empty() && !(best <= v.rel_l2 / 2)) {
    sentences.push_back(
        "None of these halves the error: it does not come from there alone.");
  }
}

// Where the source's ops round the same values in turn, the repair map shows
// none of them.
void AppendRoundedAgain(const ErrorSource& s,
                        std::vector<std::string>& sentences) {
  if (s.gains.size() < 2) return;
  std::vector<std::string> gains;
  for (const OpGain& gain : s.gains) {
    if (!(gain.gain < kSmallGain && gain.moved < kCancelling)) return;
    gains.push_back(
        absl::StrCat("in ", OpName(gain.op), " alone ", Percent(gain.gain)));
  }
  sentences.push_back(absl::StrCat(
      "In all layers of the source's ops it takes away: ", List(gains),
      ": what one leaves exact, the other ops round again."));
}

std::string SpreadOver(const Verdict& v) {
  std::vector<std::string> ops;
  for (const OpShare& op : v.ops) {
    if (ops.size() == kMostOps) break;
    ops.push_back(
        absl::StrCat(OpName(op.op), " (", Percent(op.squared_share), ")"));
  }
  return absl::StrCat(
      "There is no single source: the squared errors of the cells are spread "
      "over ",
      List(ops),
      v.ops.size() > ops.size()
          ? absl::StrCat(", and ", v.ops.size() - ops.size(), " other ops")
          : "",
      ".");
}

std::string NoEffects(const std::vector<NoEffect>& no_effect) {
  std::vector<std::string> ops;
  for (const NoEffect& op : no_effect) {
    ops.push_back(absl::StrCat(
        OpName(op.op),
        op.over_one_position ? " (over one position it is 1)" : ""));
  }
  return absl::StrCat("Rounding in ", List(ops),
                      " changes no bit of the results.");
}

// "" if no map is known.
std::string BestRepairs(const Verdict& v) {
  const auto name = [](const Cell& cell) {
    return IsPerLayer(cell.op) ? absl::StrCat(OpName(cell.op), "@", cell.layer)
                               : std::string(OpName(cell.op));
  };
  std::vector<std::string> parts;
  if (v.best_cell.has_value()) {
    parts.push_back(absl::StrCat("at one cell ", Percent(v.best_cell->gain),
                                 " (", name(v.best_cell->cell), ")"));
  }
  if (v.best_op.has_value()) {
    parts.push_back(absl::StrCat("in all layers of one op ",
                                 Percent(v.best_op->gain), " (",
                                 OpName(v.best_op->cell.op), ")"));
  }
  if (v.best_group.has_value()) {
    parts.push_back(
        absl::StrCat("in one group of ops ", Percent(v.best_group->gain), " (",
                     KernelName(OpKernel(v.best_group->cell.op)), ")"));
  }
  if (v.best_layer.has_value()) {
    parts.push_back(absl::StrCat("in one layer ", Percent(v.best_layer->gain),
                                 " (layer ", v.best_layer->cell.layer, ")"));
  }
  if (parts.empty()) return "";
  std::string text = absl::StrCat(
      "Of the plan's error, the oracle in its place takes away at most: ",
      absl::StrJoin(parts, ", "), ".");
  if (v.best_cell.has_value() && v.best_cell->gain < kSmallGain) {
    const double moved = v.best_cell->most_moved;
    absl::StrAppend(
        &text, " One cell moves the final hidden state by up to ",
        Percent(moved), " of that error",
        moved < kCancelling
            ? ": what one op leaves exact, the next one rounds again."
            : ", which brings it no nearer: errors cancel.");
  }
  return text;
}

std::string Interacts(const Interaction& i) {
  const std::string numbers = absl::StrFormat(
      "their sum has a cosine of %.3f with the plan's error vector, %.3g of "
      "its norm, and leaves %.3g of it; independent errors of their sizes "
      "would give %.3g times the plan's on average",
      i.sum_cosine, i.sum_norm, i.sum_rest, i.squares_norm);
  return i.adds_up
             ? absl::StrCat("The cells' errors add up to the plan's: ", numbers,
                            ".")
             : absl::StrCat(
                   "The cells' errors do not add up to the plan's: ", numbers,
                   ". A cell rounds other values alone than in the plan, so "
                   "shares are what roundings of this size give on average, "
                   "not parts of this error.");
}

std::string RepairSentence(const RepairResult& r) {
  const std::string budget = BudgetText(r.budget);
  std::vector<std::string> names;
  for (const Strategy strategy : r.strategies) {
    names.emplace_back(strategy.name());
  }
  const std::string stopped =
      r.stopped_in.empty()
          ? ""
          : absl::StrCat(" (The search was stopped at: ", r.stopped_in, ".)");
  if (r.reached && r.repair.upgrades.empty()) {
    return absl::StrFormat("The plan keeps the budget %s by itself: %.3g.%s",
                           budget, r.error_before, stopped);
  }
  if (!r.reached && !r.stopped_in.empty()) {
    return absl::StrCat(
        "No upgrades to keep the budget ", budget,
        " had been found when the search was stopped at: ", r.stopped_in, ".");
  }
  if (!r.reached && !std::isfinite(r.best_error)) {
    return absl::StrFormat(
        "No upgrades to {%s} keep the budget %s: with all of them the plan "
        "breaks down too.",
        absl::StrJoin(names, ", "), budget);
  }
  if (!r.reached) {
    return absl::StrFormat(
        "No upgrades to {%s} keep the budget %s; the best, %s, reach %.3g "
        "instead of %.3g.",
        absl::StrJoin(names, ", "), budget,
        r.best_is_everything ? "of everything" : "of a part", r.best_error,
        r.error_before);
  }
  std::string text = absl::StrFormat(
      "The smallest repair found for %s is `%s`: %d (layer, op) cells, and an "
      "error of %.3g instead of %.3g.",
      budget, absl::StrJoin(r.entries, ","), r.repair.cells(), r.repair.error,
      r.error_before);
  if (r.cost.has_value()) {
    absl::StrAppendFormat(
        &text,
        " Its decoding runs at %s of the plan's speed, prefill at %s (median "
        "and half the interquartile range of paired runs).",
        Ratio(r.cost->decode_ratio), Ratio(r.cost->prefill_ratio));
  }
  return text + stopped;
}

}  // namespace

absl::string_view ScopeName(CureScope scope) {
  return scope == CureScope::kSource ? "source"
         : scope == CureScope::kOps  ? "ops"
                                     : "channel";
}

std::string ExposureSentence(const Exposure& e) {
  return absl::StrFormat(
      "%s of layer %d exposes it: it cancels %.3g-fold, and the stream's "
      "standard deviation goes from %.3g to %.3g. The relative error of %.3g "
      "that the layer inherits becomes %.3g, with its own roundings %.3g.",
      OpName(e.op), e.layer, e.ratio, e.std_before, e.std_after, e.error_before,
      e.inherited_after, e.error_after);
}

std::string SpreadingSentence(const Spreading& s) {
  std::string text = absl::StrFormat(
      "Layer %d spreads it over the channels: the largest one's share of the "
      "squared error goes from %s to %s",
      s.layer, Percent(s.top1_before), Percent(s.top1_after));
  if (s.amplification > 0) {
    absl::StrAppendFormat(
        &text, ", and the layer makes what it inherits %.3g times as large",
        s.amplification);
  }
  return text + ".";
}

std::vector<std::string> Sentences(const Verdict& v,
                                   const RepairResult* repair) {
  std::vector<std::string> sentences = {Headline(v)};
  if (!v.stopped_in.empty()) {
    sentences.push_back(
        absl::StrCat("The attribution was stopped: ", v.stopped_in,
                     ". What follows is from the rest."));
  }
  if (v.nonfinite_from.has_value() || !v.nonfinite_cells.empty()) {
    sentences.push_back(Nonfinite(v));
  }
  if (v.source.has_value()) {
    AppendSource(v, sentences);
  } else if (!v.ops.empty()) {
    sentences.push_back(SpreadOver(v));
  }
  if (v.exposed_by.has_value())
    sentences.push_back(ExposureSentence(*v.exposed_by));
  if (v.spread_by.has_value())
    sentences.push_back(SpreadingSentence(*v.spread_by));
  if (v.source.has_value()) {
    AppendIsolated(*v.source, sentences);
    AppendCures(v, sentences);
  }
  if (v.head.has_value()) {
    sentences.push_back(absl::StrFormat(
        "Of the logits' squared errors %s are %s's own, after the final hidden "
        "state.",
        Percent(v.head->squared_share), OpName(v.head->op)));
  }
  if (v.interaction.has_value()) {
    sentences.push_back(Interacts(*v.interaction));
  }
  const std::string best = BestRepairs(v);
  if (!best.empty()) sentences.push_back(best);
  if (v.source.has_value()) AppendRoundedAgain(*v.source, sentences);
  if (!v.no_effect.empty()) sentences.push_back(NoEffects(v.no_effect));
  if (repair != nullptr) sentences.push_back(RepairSentence(*repair));
  return sentences;
}

}  // namespace ulpscope
