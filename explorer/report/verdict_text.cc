#include "explorer/report/verdict_text.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/budget.h"
#include "explorer/report/figures.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

std::string Headline(const Verdict& v) {
  if (v.exact) {
    return absl::StrCat("`", v.plan,
                        "` has no error here: its final hidden state and its "
                        "logits are the oracle's (relative L2 error 0).");
  }
  if (!v.kl.has_value() || !std::isfinite(*v.rel_l2) ||
      !std::isfinite(*v.logits_rel_l2)) {
    return absl::StrCat(
        "`", v.plan,
        v.stopped_in.empty() || v.nonfinite_from.has_value()
            ? "` breaks down: its results hold infinities or NaN."
            : "` was not run to its end: its error is not known.");
  }
  return absl::StrFormat(
      "`%s` ends with a relative L2 error of %.3g of the final hidden state "
      "and %.3g of the logits (KL %.3g nats).",
      v.plan, *v.rel_l2, *v.logits_rel_l2, *v.kl);
}

std::string Source(const ErrorSource& s) {
  std::string text = absl::StrCat(
      "The main source is rounding in ",
      absl::StrJoin(s.ops, " and ",
                    [](std::string* out, Op op) { out->append(OpName(op)); }),
      s.first_layer == 0
          ? ""
          : absl::StrCat(" at ", LayerRangeText(s.first_layer, s.last_layer)),
      ": ", Percent(s.squared_share),
      " of the squared errors that all (layer, op) cells make, each run "
      "alone.");
  if (!s.channel.has_value()) return text;
  const SourceChannel& c = *s.channel;
  absl::StrAppend(
      &text, " It goes through channel ", c.channel,
      c.massive ? absl::StrCat(", a massive activation of ", Number(c.value))
                : "",
      // Other ops make the value, or act on what it did.
      c.rounded ? absl::StrCat(", which they round to ", FormatName(c.format))
                : "",
      ".");
  return text;
}

std::string BestCure(const Verdict& v) {
  const Cure* best = nullptr;
  for (const Cure& cure : v.source->cures) {
    if (best == nullptr || cure.rel_l2 < best->rel_l2 ||
        std::isnan(best->rel_l2)) {
      best = &cure;
    }
  }
  return absl::StrFormat(
      "Of the cures tried, `%s` leaves the least: an error of %.3g instead of "
      "%.3g.%s",
      absl::StrJoin(best->entries, ","), best->rel_l2, *v.rel_l2,
      best->rel_l2 <= *v.rel_l2 / 2
          ? ""
          : " None halves the error: it does not come from there alone.");
}

std::string RepairSentence(const RepairResult& r) {
  std::string text;
  if (!r.reached) {
    text = absl::StrCat("No upgrades that keep the budget ",
                        BudgetText(r.budget), " were found");
    if (r.stopped_in.empty()) {
      absl::StrAppend(
          &text, std::isfinite(*r.best_error)
                     ? absl::StrFormat("; the best reach %.3g instead of %.3g",
                                       *r.best_error, *r.error_before)
                     : "; with all of them the plan breaks down too");
    }
    text += ".";
  } else if (r.repair.upgrades.empty()) {
    text = absl::StrFormat("The plan keeps the budget %s by itself: %.3g.",
                           BudgetText(r.budget), *r.error_before);
  } else {
    text = absl::StrFormat(
        "The smallest repair found for %s is `%s`: %d (layer, op) cells, and "
        "an error of %.3g instead of %.3g.",
        BudgetText(r.budget), absl::StrJoin(r.entries, ","), r.repair.cells(),
        r.repair.error, *r.error_before);
  }
  if (!r.stopped_in.empty()) {
    absl::StrAppend(&text, " The search was stopped at: ", r.stopped_in, ".");
  }
  return text;
}

}  // namespace

std::vector<std::string> Sentences(const Verdict& v,
                                   const RepairResult* repair) {
  std::vector<std::string> all = {Headline(v)};
  if (!v.stopped_in.empty()) {
    all.push_back(absl::StrCat("The attribution was stopped: ", v.stopped_in,
                               ". What follows is from the rest."));
  }
  if (v.nonfinite_from.has_value()) {
    all.push_back(absl::StrFormat(
        "From layer %d on its stream holds infinities or NaN: no part of that "
        "is any op's share.",
        *v.nonfinite_from));
  }
  if (v.source.has_value()) {
    all.push_back(Source(*v.source));
  } else if (!v.ops.empty()) {
    all.push_back(
        "There is no single source: no op and no group of ops has half of the "
        "cells' squared errors.");
  }
  if (v.exposed_by.has_value()) {
    const Exposure& e = *v.exposed_by;
    all.push_back(absl::StrFormat(
        "%s of layer %d exposes it: it cancels %.3g-fold, and the relative "
        "error of %.3g that the layer inherits becomes %.3g.",
        OpName(e.op), e.layer, e.ratio, e.error_before, e.inherited_after));
  }
  if (v.spread_by.has_value()) {
    const Spreading& s = *v.spread_by;
    all.push_back(absl::StrFormat(
        "Layer %d spreads it over the channels: the largest one's share of the "
        "squared error goes from %s to %s.",
        s.layer, Percent(s.top1_before), Percent(s.top1_after)));
  }
  if (v.source.has_value() && !v.source->cures.empty()) {
    all.push_back(BestCure(v));
  }
  if (v.head.has_value()) {
    all.push_back(absl::StrFormat(
        "Of the logits' squared errors %s are %s's own, after the final hidden "
        "state.",
        Percent(v.head->squared_share), OpName(v.head->op)));
  }
  if (v.interaction.has_value() && !v.interaction->adds_up) {
    all.push_back(
        "The cells' errors do not add up to the plan's: a cell rounds other "
        "values alone than in the plan. Shares are what roundings of this size "
        "give on average, not parts of this error.");
  }
  if (repair != nullptr) all.push_back(RepairSentence(*repair));
  return all;
}

}  // namespace ulpscope
