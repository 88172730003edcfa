#include "explorer/report/verdict_text.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/truth.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/budget.h"
#include "explorer/error/effect.h"
#include "explorer/error/position_errors.h"
#include "explorer/report/figures.h"
#include "kernels/base/format.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

std::string Headline(const Verdict& v) {
  const bool of_two = IsAgainstPlan(v);
  if (v.is_itself && of_two) {
    return absl::StrCat("`", v.plan,
                        "` is compared with itself: the two plans are the same "
                        "in every cell, and there is no difference to "
                        "explain.");
  }
  if (v.exact && of_two) {
    return absl::StrCat("`", v.plan, "` gives the results of `", v.against,
                        "` here: its final hidden state and its logits are the "
                        "same (relative L2 error 0).");
  }
  if (v.exact) {
    return absl::StrCat("`", v.plan,
                        "` has no error here: its final hidden state and its "
                        "logits are the oracle's (relative L2 error 0).");
  }
  if (!v.kl.has_value() || !std::isfinite(*v.rel_l2) ||
      !std::isfinite(*v.logits_rel_l2)) {
    const bool breaks_down =
        v.stopped_in.empty() || v.nonfinite_from.has_value();
    if (breaks_down && of_two) {
      return absl::StrCat("`", v.plan, "` or `", v.against,
                          "` breaks down: the difference of their results "
                          "holds infinities or NaN.");
    }
    return absl::StrCat(
        "`", v.plan,
        breaks_down ? "` breaks down: its results hold infinities or NaN."
                    : "` was not run to its end: its error is not known.");
  }
  return absl::StrFormat(
      "`%s` ends with a relative L2 %s of %.3g of the final hidden state and "
      "%.3g of the logits (KL %.3g nats).",
      v.plan,
      of_two ? absl::StrCat("difference from `", v.against, "`") : "error",
      *v.rel_l2, *v.logits_rel_l2, *v.kl);
}

std::string Source(const ErrorSource& s, bool of_two) {
  std::string text = absl::StrCat(
      // Which of the two plans rounds more there is not said.
      of_two ? "The main source of the difference is "
             : "The main source is rounding in ",
      absl::StrJoin(s.ops, " and ",
                    [](std::string* out, Op op) { out->append(OpName(op)); }),
      s.first_layer == 0
          ? ""
          : absl::StrCat(" at ", LayerRangeText(s.first_layer, s.last_layer)),
      ": ", Percent(s.squared_share),
      s.squared_share_error.has_value()
          ? absl::StrCat(" (± ", Percent(2 * *s.squared_share_error),
                         " over the positions)")
          : "",
      " of the squared errors that all (layer, op) cells make, each run "
      "alone.");
  if (!s.channel.has_value()) return text;
  const SourceChannel& c = *s.channel;
  absl::StrAppend(
      &text, " It goes through channel ", c.channel,
      c.massive ? absl::StrCat(", a massive activation of ", Number(c.value))
                : "",
      // Other ops make the value, or act on what it did.
      c.rounded ? absl::StrCat(of_two ? ", which is rounded to "
                                      : ", which they round to ",
                               FormatName(c.format))
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
        "From layer %d on %s infinities or NaN: no part of that is any op's "
        "share.",
        *v.nonfinite_from,
        IsAgainstPlan(v) ? "the difference of the streams holds"
                         : "its stream holds"));
  }
  if (v.source.has_value()) {
    all.push_back(Source(*v.source, IsAgainstPlan(v)));
  } else if (!v.ops.empty()) {
    all.push_back(
        "There is no single source: no op and no group of ops has half of the "
        "cells' squared errors.");
  } else if (v.interaction.has_value()) {
    // As of residual=kahan against f32: the next add drops a carry.
    all.push_back(
        "No (layer, op) cell alone changes the final hidden state: that takes "
        "several of them together.");
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

std::string TruthSentence(const Verdict& v, const Truth& truth) {
  const auto of_both = [&] {
    const auto of = [](const std::string& plan, const Effect& e) {
      return absl::StrFormat(
          "`%s` has %.3g of the final hidden state, %.3g of the logits and a "
          "KL "
          "of %.3g nats",
          plan, *e.rel_l2, *e.logits_rel_l2, *e.kl);
    };
    return absl::StrCat("Relative L2 errors: ", of(v.plan, truth.plan), ", ",
                        of(v.against, truth.reference), ".");
  };
  const auto nearer = [&](const std::string& plan) {
    return absl::StrCat("Of the two, `", plan,
                        "` is the nearer one to the f64 oracle. ", of_both());
  };
  switch (truth.nearer()) {
    case Nearer::kUnknown:
      return "How far the two are from the f64 oracle is not known: their runs "
             "were stopped.";
    case Nearer::kPlan:
      return nearer(v.plan);
    case Nearer::kReference:
      return nearer(v.against);
    case Nearer::kEqual:
      return "The two are equally far from the f64 oracle.";
    case Nearer::kDepends:
      break;
  }
  return absl::StrCat(
      "Which of the two is nearer to the f64 oracle depends on the figure. ",
      of_both());
}

std::optional<std::string> PositionSentence(const Attribution& a) {
  const std::vector<PositionError>& positions = a.positions;
  if (positions.size() < 2 || !a.plan.complete() || !(*a.plan.rel_l2 > 0) ||
      !std::isfinite(*a.plan.rel_l2) || !std::isfinite(*a.plan.logits_rel_l2)) {
    return std::nullopt;
  }
  const auto most =
      std::max_element(positions.begin(), positions.end(),
                       [](const PositionError& x, const PositionError& y) {
                         return x.squared_share < y.squared_share;
                       });
  std::string text = absl::StrFormat(
      "Position %d%s has %s of the final hidden state's squared error and %s "
      "of "
      "the logits'.",
      most - positions.begin(),
      most->massive ? ", where there is a massive activation," : "",
      Percent(most->squared_share), Percent(most->logits_squared_share));
  const auto num_massive =
      std::count_if(positions.begin(), positions.end(),
                    [](const PositionError& p) { return p.massive; });
  if (num_massive == 0) return text;
  if (!a.plan.ordinary_rel_l2.has_value()) {
    return text + " All positions have a massive activation.";
  }
  return text +
         absl::StrFormat(
             " Without the %d position%s with a massive activation the errors "
             "are %.3g of the final hidden state and %.3g of the logits "
             "(KL %.3g nats).",
             num_massive, num_massive == 1 ? "" : "s", *a.plan.ordinary_rel_l2,
             *a.plan.ordinary_logits_rel_l2, *a.plan.ordinary_kl);
}

}  // namespace ulpscope
