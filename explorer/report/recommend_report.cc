#include "explorer/report/recommend_report.h"

#include <string>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/error/budget.h"
#include "explorer/recommend/clock.h"
#include "explorer/recommend/recommendation.h"
#include "explorer/report/figures.h"
#include "explorer/report/frame.h"
#include "explorer/report/markdown.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"

namespace ulpscope {
namespace {

using Row = std::vector<Value>;

std::string ErrorText(const RecommendOptions& options, double error) {
  return absl::StrCat(MetricName(options.budget.metric), " ",
                      Scientific(error));
}

// "0.912 [0.905, 0.919] of f32's time".
std::string TimeText(const TimeRatio& time) {
  std::string text = absl::StrFormat("%.3f", time.ratio);
  if (time.low && time.high) {
    absl::StrAppendFormat(&text, " [%.3f, %.3f]", *time.low, *time.high);
  }
  return text;
}

// Beside f32, of both texts.
std::string Errors(const RecommendOptions& options, const Finalist& plan) {
  std::string text = absl::StrCat(ErrorText(options, plan.error), " on ",
                                  options.text.tokens.size(), " tokens of ",
                                  options.text.prompt);
  if (plan.other_error) {
    absl::StrAppend(&text, ", ", Scientific(*plan.other_error), " on ",
                    options.other_text.tokens.size(), " tokens of ",
                    options.other_text.prompt);
  }
  return text;
}

std::string Speed(const Finalist& plan, TimedPhase phase) {
  const auto& rate =
      phase == TimedPhase::kDecode ? plan.decode_rate : plan.prefill_rate;
  if (!rate) return "It was not timed.";
  std::string text =
      absl::StrCat(PhaseName(phase), " ", Rate(*rate), " tokens per second");
  if (plan.time) {
    absl::StrAppend(&text, ", ", TimeText(*plan.time),
                    " of f32's time (95 % interval)");
  }
  return text + ".";
}

// Whether it ties as its rounds say little.
bool IsScattered(const Finalist& plan) {
  return plan.tied && plan.time && plan.time->low && plan.time->high &&
         *plan.time->high > 1.2 * *plan.time->low;
}

std::string VerdictText(const RecommendOptions& options,
                        const Recommendation& result) {
  const std::string budget = BudgetText(options.budget);
  if (!result.chosen) return "\nNo plan was measured yet.\n";
  const Finalist& plan = result.finalists[*result.chosen];
  const std::string line =
      absl::StrCat("\n\n    --plan=", plan.plan.Text(), "\n\n");
  const std::string errors = Errors(options, plan);
  const std::string speed = Speed(plan, options.phase);
  switch (result.verdict) {
    case RecommendVerdict::kRecommended: {
      std::string text =
          absl::StrCat("\nThe fastest plan found in ", PhaseName(options.phase),
                       " that keeps ", budget, " on both texts:", line, errors,
                       ". ", speed, "\n");
      const auto is_tied = [](const Finalist& f) { return f.tied; };
      const auto ties = absl::c_count_if(result.finalists, is_tied);
      if (ties > 1) {
        absl::StrAppend(&text, "\n", ties,
                        " finalists are as fast within the rounds' noise; it "
                        "has the least error of them.\n");
        if (absl::c_any_of(result.finalists, IsScattered)) {
          text +=
              "\nTheir times scatter by more than a fifth: a quiet machine may "
              "tell them apart.\n";
        }
      }
      if (result.failed_confirmations > 0) {
        absl::StrAppend(
            &text, "\n", result.failed_confirmations,
            result.failed_confirmations == 1 ? " faster finalist keeps"
                                             : " faster finalists keep",
            " the budget on the text that was searched on, and not on the "
            "other.\n");
      }
      return text;
    }
    case RecommendVerdict::kNotConfirmed:
      return absl::StrCat(
          "\n**Not confirmed:** plans keep ", budget,
          " on the text that was searched on, and none of the finalists does "
          "on the other text. The one of least error there:",
          line, errors, ". ", speed, "\n");
    case RecommendVerdict::kNotMet:
      return absl::StrCat("\n**Not met:** no plan that was run keeps ", budget,
                          ". The least error found is ",
                          ErrorText(options, plan.error), ", of", line, errors,
                          ". ", speed, "\n");
    case RecommendVerdict::kUnfinished:
      break;
  }
  return absl::StrCat(
      plan.keeps ? "\n**Unfinished.** The fastest plan so far, by a guess of "
                   "its time, that keeps "
                 : "\n**Unfinished.** No plan so far keeps ",
      budget, plan.keeps ? ":" : "; the one of least error:", line, errors,
      ". ", speed, "\n");
}

// What stands in the same place of the f32 plan.
std::string GivenUp(const RecommendOptions& options,
                    const Recommendation& result, const Results& results) {
  if (!result.chosen || !result.f32) return "";
  const Finalist& plan = result.finalists[*result.chosen];
  const Finalist& f32 = result.finalists[*result.f32];
  std::string text = "\n## What is given up\n\n";
  if (plan.plan == f32.plan) {
    return text + "Nothing: the plan is f32.\n";
  }
  absl::StrAppend(&text, "f32 has ", Errors(options, f32), ". ",
                  Speed(f32, options.phase), "\n");
  const Table& changes = results.Find("changes");
  if (changes.rows.empty()) return text;
  return absl::StrCat(
      text, "\nEach entry of the plan, and the plan with f32 in its place:\n\n",
      Markdown(changes, {"name", "time_ratio_without", "error_without"}),
      "\nTimes here are guesses from those of whole strategies; errors are "
      "measured, and do not add up.\n");
}

}  // namespace

std::string RecommendReport(const RunInfo& info,
                            const RecommendOptions& options,
                            const Recommendation& result,
                            const Results& results) {
  std::string text = ReportHead("ulpscope: the fastest plan within a budget",
                                info, ".", result.stopped_in) +
                     VerdictText(options, result);
  if (!result.finalists.empty()) {
    absl::StrAppend(
        &text, "\n## Finalists\n\n",
        Markdown(
            results.Find("plans"),
            {"rank", "chosen", "pareto", "tied", "plan", "error", "other_error",
             "confirmed",
             "decode_tokens_per_second±decode_tokens_per_second_half_iqr",
             "prefill_tokens_per_second±prefill_tokens_per_second_half_iqr",
             "time_ratio", "time_ratio_low", "time_ratio_high",
             "predicted_time_ratio"}),
        absl::StrFormat(
            "\nTimed as whole plans, in %d rounds over all of them. Errors are "
            "%s against %s. `Front`: no finalist is as fast and as accurate. "
            "`Guessed`: what the search took the time for.\n",
            result.rounds, MetricName(options.budget.metric),
            info.against == "oracle" ? "the f64 oracle"
                                     : absl::StrCat("`", info.against, "`")));
  }
  text += GivenUp(options, result, results);
  const Table& layers = results.Find("layers");
  if (!layers.rows.empty()) {
    const std::string chosen = result.finalists[*result.chosen].plan.Text();
    const size_t plan = layers.Find("plan"), on = layers.Find("tokens"),
                 layer = layers.Find("layer");
    absl::StrAppend(
        &text, "\n## Layer by layer\n\n",
        Markdown(results.Find("evaluations"),
                 {"plan", "tokens", "final_rel_l2", "kl_nats", "kl_max_nats",
                  "top1_agreement"}),
        "\nThe plan, on the text that was searched on:\n\n",
        Markdown(layers,
                 {"layer", "mean_abs", "rmse", "max_abs", "growth", "status",
                  "rel_l2"},
                 [&](const Row& row) {
                   return std::get<std::string>(row[plan]) == chosen &&
                          std::get<std::string>(row[on]) == "search" &&
                          info.IsShown(static_cast<size_t>(
                              std::get<int64_t>(row[layer])));
                 }));
  }
  if (!result.levels.empty()) {
    absl::StrAppend(
        &text, "\n## What strategies cost\n\n",
        Markdown(results.Find("strategies"),
                 {"axis", "strategy", "error", "time_ratio±time_ratio_half_iqr",
                  "searched"}),
        "\nError: with the most accurate strategies elsewhere. Time: of the "
        "f32 plan with it, by the f32 plan's. Searched: worth a choice by op "
        "and range of layers; others are as fast and as accurate as those "
        "that are not.",
        result.time_noise.has_value()
            ? absl::StrFormat(
                  " Times that differ by less than %s of f32's count as "
                  "equal.",
                  Percent(*result.time_noise))
            : "",
        "\n\n",
        absl::StrFormat("The search measured the errors of %d plans in %d "
                        "passes over the weights%s.\n",
                        result.measured, result.passes,
                        result.out_of_time ? ", until its time was over"
                        : result.complete
                            ? ", all that were expected to be faster among them"
                            : ""));
  }
  return text + ReportTail(info);
}

}  // namespace ulpscope
