#include "explorer/report/sweep_report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/windows.h"
#include "explorer/report/error_fields.h"
#include "explorer/report/figures.h"
#include "explorer/report/frame.h"
#include "explorer/report/markdown.h"
#include "explorer/report/sweep_results.h"
#include "explorer/report/token_report.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {
namespace {

using Row = std::vector<Value>;

constexpr char kNotPrinted[] =
    "are not printed; results.json and plans.csv of --out have them.";

// The plans that are printed: all, or of many the first, the Pareto front and
// the worst.
std::set<std::string> PrintedPlans(const SweepResult& result) {
  constexpr size_t kMost = 200;
  std::set<std::string> printed;
  const PlanResult* worst = nullptr;
  for (const PlanResult& plan : result.plans) {
    if (printed.size() < kMost || plan.pareto) printed.insert(plan.plan);
    if (plan.measured()) worst = &plan;
  }
  if (worst != nullptr) printed.insert(worst->plan);
  return printed;
}

// Whether a row's plan is one of them.
auto IsOf(const Table& table, const std::set<std::string>& printed) {
  return [at = table.Find("plan"), &printed](const Row& row) {
    return printed.count(std::get<std::string>(row[at])) > 0;
  };
}

std::string TuningLine(const WisdomUse& wisdom) {
  if (wisdom.known == 0) {
    return absl::StrCat("Kernels are not tuned: ", wisdom.reason, ".");
  }
  return absl::StrFormat(
      "Of %d kinds of MatMul against weights, %d are tuned, by %s.",
      wisdom.timed, wisdom.known, wisdom.file);
}

// What errors on the prompt are against, and over.
std::string ErrorsAre(const RunInfo& info, const SweepOptions& options) {
  const std::vector<Window> windows = WindowsOf(options);
  size_t tokens = 0;
  for (const Window& window : windows) tokens += window.tokens.size();
  return absl::StrFormat(
      "Errors are against %s, on %s of %d tokens",
      info.against == "oracle" ? "the f64 oracle"
                               : absl::StrCat("`", info.against, "`"),
      windows.size() == 1 ? "the prompt"
                          : absl::StrCat(windows.size(), " windows"),
      tokens);
}

// Of another plan than the oracle: how far that is from it.
std::string Truth(const RunInfo& info, const std::set<std::string>& printed,
                  const Results& results) {
  const Table& plans = results.Find("plans");
  const Table& context = results.tables[0];
  if (info.against == "oracle") return "";
  return absl::StrCat(
      "\nOf `", info.against, "` itself, against the f64 oracle:\n\n",
      Markdown(context,
               {"against_oracle_final_rel_l2", "against_oracle_kl_nats"}),
      "\nof the plans, and which of the two is nearer to it:\n\n",
      Markdown(
          plans,
          {"plan", "oracle_final_rel_l2", "oracle_kl_nats", "nearer_to_oracle"},
          IsOf(plans, printed)));
}

// A table of speeds, with the reason in place of one that there is none of.
Table WithReasons(Table table) {
  const size_t reason = table.Find("not_timed");
  for (const char* const speed :
       {"decode_tokens_per_second", "prefill_tokens_per_second"}) {
    const size_t at = table.Find(speed);
    for (Row& row : table.rows) {
      if (!std::holds_alternative<std::monostate>(row[reason])) {
        row[at] = row[reason];
      }
    }
  }
  return table;
}

std::string Ranking(const RunInfo& info, const SweepOptions& options,
                    const SweepResult& result,
                    const std::set<std::string>& printed,
                    const Results& results) {
  const Table& plans = results.Find("plans");
  std::vector<std::string> columns = {
      "rank",
      "pareto",
      "plan",
      "decode_tokens_per_second±decode_tokens_per_second_half_iqr",
      "prefill_tokens_per_second±prefill_tokens_per_second_half_iqr",
      "final_rmse",
      "final_rel_l2",
      "ordinary_final_rel_l2",
      "mean_growth",
      "kl_nats",
      "top1_agreement"};
  std::string more;
  if (absl::c_any_of(result.plans, [](const PlanResult& plan) {
        return plan.last_like.has_value();
      })) {
    columns.insert(columns.begin() + 1, "rank_last_like");
    more =
        " `Like`: the last place that the spread over windows does not tell "
        "from this one (paired t-test, 5 %).";
  }
  if (options.greedy > 0) {
    columns.insert(columns.end(), {"greedy_divergence", "greedy_margin_nats"});
    absl::StrAppend(&more, " `Leaves at`: which of ", result.greedy.size(),
                    " greedily generated tokens the plan would first choose "
                    "otherwise.");
  }
  if (absl::c_any_of(result.plans,
                     [](const PlanResult& plan) { return plan.emulated; })) {
    absl::StrAppend(&more, " `", kEmulated,
                    "`: by this CPU, whose time says nothing of the plan; it "
                    "is not timed, and in no ranking of speeds.");
  }
  if (!options.timed) {
    absl::StrAppend(&more, " `", kNotAsked,
                    "`: --notiming leaves all times out, and so the front.");
  }
  const auto not_chosen = absl::c_count_if(
      result.plans, [](const auto& p) { return p.not_chosen; });
  if (not_chosen > 0) {
    absl::StrAppend(&more, " `", kNotChosen, "`: of the ", not_chosen,
                    " plans that --timed_plans leaves out of the timing; the "
                    "front is of the others.");
  }
  const auto of_printed = IsOf(plans, printed);
  const auto shown = absl::c_count_if(plans.rows, of_printed);
  const size_t hidden = plans.rows.size() - static_cast<size_t>(shown);
  if (hidden > 0) {
    absl::StrAppend(&more, " ", hidden, " of ", plans.rows.size(), " plans ",
                    kNotPrinted);
  }
  return absl::StrFormat(
             "\nRanked by %s (%s). `*`: on the Pareto front of that metric and "
             "decode speed.%s\n%s; `Ordinary`: without positions that have a "
             "massive activation.\n\n",
             options.metric->name, options.metric->summary, more,
             ErrorsAre(info, options)) +
         Markdown(WithReasons(plans), columns, of_printed) +
         Truth(info, printed, results);
}

// Whether a row is of this plan, and on the token alone or on the prompt.
auto Of(const Table& table, const std::string& plan, const char* tokens) {
  return [plan_at = table.Find("plan"), tokens_at = table.Find("tokens"), plan,
          tokens](const Row& row) {
    return std::get<std::string>(row[plan_at]) == plan &&
           std::get<std::string>(row[tokens_at]) == tokens;
  };
}

std::string TokenSection(const RunInfo& info, const SweepOptions& options,
                         const Results& results, const PlanResult& plan,
                         absl::string_view title) {
  const Table& layers = results.Find("layers");
  const Table& evaluations = results.Find("evaluations");
  const auto of_plan = Of(layers, plan.plan, "token");
  std::vector<std::string> columns = SeedReportColumns();
  columns.insert(columns.end(),
                 {"rel_l2", "max_activation", "max_activation_channel"});
  const size_t layer = layers.Find("layer");
  return absl::StrFormat("\n## %s `%s`: token %d alone at position 0\n\n",
                         title, plan.plan, options.token) +
         Markdown(layers, columns,
                  [&](const Row& row) {
                    return of_plan(row) && info.IsShown(static_cast<size_t>(
                                               std::get<int64_t>(row[layer])));
                  }) +
         "\n" +
         Markdown(evaluations,
                  {"logits_max_abs", "logits_kl_nats", "logits_top1_agreement",
                   "logits_top10_overlap", "mean_growth"},
                  Of(evaluations, plan.plan, "token"));
}

// The axis with the largest share; null if nothing varies.
const MainEffect* Largest(const std::vector<MainEffect>& effects,
                          std::optional<double> MainEffect::*share) {
  const MainEffect* best = nullptr;
  for (const MainEffect& effect : effects) {
    if (!(effect.*share).has_value()) continue;
    if (best == nullptr || effect.*share > best->*share) best = &effect;
  }
  return best;
}

std::string ErrorMover(const std::vector<MainEffect>& effects) {
  const MainEffect* best = Largest(effects, &MainEffect::error_share);
  return best == nullptr ? "no axis"
                         : absl::StrCat(best->selector, " (",
                                        Percent(*best->error_share), ")");
}

// The same for a speed. Timings scatter, so some axis always has the largest
// share: it counts if its levels differ by more than a plan's own median
// spread.
std::string SpeedMover(const SweepResult& result,
                       std::optional<double> MainEffect::*share,
                       std::optional<double> MainEffect::Level::*rate,
                       std::optional<Spread> PlanResult::*spread) {
  std::vector<double> spreads;
  for (const PlanResult& plan : result.plans) {
    if (plan.emulated) continue;
    if (!(plan.*spread).has_value()) return "- (not all are timed)";
    spreads.push_back((plan.*spread)->half_iqr / (plan.*spread)->median);
  }
  if (spreads.empty()) return "- (all are emulated)";
  std::sort(spreads.begin(), spreads.end());
  const double noise = spreads[spreads.size() / 2];
  const MainEffect* best = Largest(result.effects, share);
  if (best == nullptr) return "no axis";
  double slowest = HUGE_VAL, fastest = 0;
  for (const MainEffect::Level& level : best->levels) {
    if (!(level.*rate).has_value()) continue;  // emulated
    slowest = std::min(slowest, *(level.*rate));
    fastest = std::max(fastest, *(level.*rate));
  }
  if (!(fastest / slowest - 1 > noise)) {
    return absl::StrCat("no axis beyond the timings' spread of ",
                        Percent(noise));
  }
  return absl::StrCat(best->selector, " (", Percent(*(best->*share)), ")");
}

std::string Effects(const SweepResult& result, const Results& results) {
  return absl::StrCat(
      "\n## Main effects\n\nGeometric means over the plans with that strategy; "
      "shares are of the variance of the logarithm (eta squared).\n\n",
      Markdown(WithReasons(results.Find("main_effects")),
               {"axis", "strategy", "error", "decode_tokens_per_second",
                "prefill_tokens_per_second", "error_share", "decode_share",
                "prefill_share"}),
      "\nMoved most: the error by ", ErrorMover(result.effects),
      ", decode speed by ",
      SpeedMover(result, &MainEffect::decode_share,
                 &MainEffect::Level::decode_rate, &PlanResult::decode_rate),
      ", prefill speed by ",
      SpeedMover(result, &MainEffect::prefill_share,
                 &MainEffect::Level::prefill_rate, &PlanResult::prefill_rate),
      ".\n");
}

// Of the plans whose errors were not all measured: what there is.
std::string UntilStopped(const RunInfo& info, const SweepOptions& options,
                         const SweepResult& result,
                         const std::set<std::string>& printed,
                         const Results& results) {
  std::string text =
      absl::StrCat("\n## Until it was stopped\n\n", ErrorsAre(info, options),
                   ", after the last layer that was done.\n\n");
  const Table& layers = results.Find("layers");
  const size_t plan_at = layers.Find("plan");
  const auto is_prompt = [tokens = layers.Find("tokens")](const Row& row) {
    return std::get<std::string>(row[tokens]) == "prompt";
  };
  std::map<std::string, const Row*> last_of;  // by plan
  for (const Row& row : layers.rows) {
    if (is_prompt(row)) last_of[std::get<std::string>(row[plan_at])] = &row;
  }
  Table last = {layers.name, layers.about, layers.single, layers.columns, {}};
  size_t unfinished = 0;
  for (const PlanResult& plan : result.plans) {
    if (plan.measured()) continue;
    ++unfinished;
    if (printed.count(plan.plan) == 0) continue;
    const auto found = last_of.find(plan.plan);
    if (found != last_of.end()) {
      last.rows.push_back(*found->second);
      continue;
    }
    last.rows.emplace_back(last.columns.size());
    last.rows.back()[plan_at] = plan.plan;
  }
  absl::StrAppend(&text, Markdown(last, {"plan", "layer", "mean_abs", "rmse",
                                         "rel_l2", "growth"}));
  const size_t hidden = unfinished - last.rows.size();
  if (hidden > 0) {
    absl::StrAppend(&text, "\n", hidden, " of these ", unfinished, " plans ",
                    kNotPrinted, "\n");
  }
  return text;
}

}  // namespace

std::string SweepReport(const RunInfo& info, const SweepOptions& options,
                        const SweepResult& result, const Results& results) {
  std::string text =
      ReportHead("ulpscope", info,
                 absl::StrFormat("; a decode step reads %.1f MB of weights. %s",
                                 static_cast<double>(info.decode_bytes) / 1e6,
                                 TuningLine(info.wisdom)),
                 result.stopped_in);
  const std::set<std::string> printed = PrintedPlans(result);
  // The measured ones stand first.
  const size_t measured = static_cast<size_t>(
      std::count_if(result.plans.begin(), result.plans.end(),
                    [](const PlanResult& plan) { return plan.measured(); }));
  if (measured > 0) {
    text += Ranking(info, options, result, printed, results);
  }
  const auto section = [&](const PlanResult& plan, absl::string_view title) {
    text += TokenSection(info, options, results, plan, title);
  };
  if (result.plans.size() == 1) {
    section(result.plans.front(), "Plan");
  } else if (measured > 0) {
    section(result.plans.front(), "Best plan");
    section(result.plans[measured - 1], "Worst plan");
  }
  if (measured > 0) {
    text += TextSection(info, options, result.plans[measured - 1], printed,
                        results);
  }
  if (measured < result.plans.size()) {
    text += UntilStopped(info, options, result, printed, results);
  }
  text +=
      "\nAt position 0 the softmax is over a single score: no softmax strategy "
      "can matter there.\n";
  if (!result.effects.empty()) text += Effects(result, results);
  return text + ReportTail(info);
}

}  // namespace ulpscope
