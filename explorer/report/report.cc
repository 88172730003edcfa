#include "explorer/report/report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/report/error_table.h"
#include "explorer/report/figures.h"
#include "explorer/report/run_info.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {
namespace {

// "-" for what has no value.
std::string MeanRate(double rate) {
  return std::isnan(rate) ? "-" : absl::StrFormat("%.1f", rate);
}

std::string TuningLine(const WisdomUse& wisdom) {
  if (wisdom.known == 0) {
    return absl::StrCat("Kernels are not tuned: ", wisdom.reason, ".");
  }
  return absl::StrFormat(
      "Of %d kinds of MatMul against weights, %d are tuned, by %s.",
      wisdom.timed, wisdom.known, wisdom.file);
}

std::string Ranking(const SweepOptions& options, const SweepResult& result) {
  std::string text = absl::StrFormat(
      "Ranked by %s (%s). `*`: on the Pareto front of that metric and decode "
      "speed.\nErrors are against the f64 oracle, on the prompt of %d tokens.\n"
      "\n"
      "| # | | Plan | Decode tok/s | Prefill tok/s | Final RMSE | Rel L2 | "
      "Growth/layer | KL (nats) | Top-1 |\n"
      "|--:|-|------|-------------:|--------------:|-----------:|-------:|"
      "-------------:|----------:|------:|\n",
      options.metric->name, options.metric->summary, options.prompt.size());
  for (const PlanResult& plan : result.plans) {
    if (!plan.measured()) {
      absl::StrAppendFormat(
          &text, "| - |  | %s | - | - | - | - | - | - | - |\n", plan.plan);
      continue;
    }
    const ErrorMetrics& error = plan.prompt.final_hidden();
    absl::StrAppendFormat(
        &text, "| %d | %s | %s | %s | %s | %.3e | %.3e | %s | %.2e | %s |\n",
        plan.rank, plan.pareto ? "*" : " ", plan.plan, Rate(plan.decode_rate),
        Rate(plan.prefill_rate), error.rmse, error.rel_l2,
        Growth(plan.prompt.mean_growth), plan.prompt.logits->kl,
        Percent(plan.prompt.logits->top1_agreement));
  }
  return text;
}

// Of the plans whose errors were not all measured: what there is.
std::string UntilStopped(const SweepResult& result) {
  std::string text =
      "\n## Until it was stopped\n\n"
      "Errors are against the f64 oracle, on the prompt, after the last layer "
      "that was\ndone.\n\n"
      "| Plan | Layer | Mean Abs Error | RMSE | Rel L2 | Growth/layer |\n"
      "|------|------:|---------------:|-----:|-------:|-------------:|\n";
  for (const PlanResult& plan : result.plans) {
    if (plan.measured()) continue;
    if (plan.prompt.layers.empty()) {
      absl::StrAppendFormat(&text, "| %s | - | - | - | - | - |\n", plan.plan);
      continue;
    }
    const LayerMetrics& last = plan.prompt.layers.back();
    absl::StrAppendFormat(&text, "| %s | %d | %.3e | %.3e | %.3e | %s |\n",
                          plan.plan, last.layer, last.error.mean_abs,
                          last.error.rmse, last.error.rel_l2,
                          Growth(plan.prompt.mean_growth));
  }
  return text;
}

// The seed report's columns, then ours.
std::string LayerTable(const RunInfo& info, const TraceMetrics& metrics) {
  std::string text =
      absl::StrCat(kErrorTableHead, " Rel L2 | Largest Activation |\n",
                   kErrorTableRule, "--------|--------------------|\n");
  for (const LayerMetrics& row : metrics.layers) {
    if (!info.IsShown(row.layer)) continue;
    absl::StrAppendFormat(&text, "%s %.3e | %.4g (channel %d) |\n",
                          ErrorTableCells(row.layer, row.error, row.growth),
                          row.error.rel_l2, row.max_activation,
                          row.max_channel);
  }
  return text;
}

std::string TokenSection(const RunInfo& info, const SweepOptions& options,
                         const PlanResult& plan, absl::string_view title) {
  std::string logits = "-.";
  if (plan.token.logits.has_value()) {
    logits = absl::StrFormat(
        "max error %.3e, KL %.2e nats, top-1 %s, top-10 overlap %s.",
        plan.token.logits->max_abs, plan.token.logits->kl,
        plan.token.logits->top1_agreement == 1 ? "the same" : "another",
        Percent(plan.token.logits->top10_overlap));
  }
  return absl::StrFormat(
      "\n## %s `%s`: token %d alone at position 0\n\n%s"
      "\nLogits: %s Mean growth per layer %s.\n",
      title, plan.plan, options.token, LayerTable(info, plan.token), logits,
      Growth(plan.token.mean_growth));
}

// The axis with the largest share; null if nothing varies.
const MainEffect* Largest(const std::vector<MainEffect>& effects,
                          double MainEffect::*share) {
  const MainEffect* best = nullptr;
  for (const MainEffect& effect : effects) {
    if (std::isnan(effect.*share)) continue;
    if (best == nullptr || effect.*share > best->*share) best = &effect;
  }
  return best;
}

std::string ErrorMover(const std::vector<MainEffect>& effects) {
  const MainEffect* best = Largest(effects, &MainEffect::error_share);
  return best == nullptr ? "no axis"
                         : absl::StrCat(best->selector, " (",
                                        Percent(best->error_share), ")");
}

// The same for a speed. Timings scatter, so some axis always has the largest
// share: it counts if its levels differ by more than a plan's own median
// spread.
std::string SpeedMover(const SweepResult& result, double MainEffect::*share,
                       double MainEffect::Level::*rate,
                       Spread PlanResult::*spread) {
  std::vector<double> spreads;
  for (const PlanResult& plan : result.plans) {
    if (std::isnan((plan.*spread).median)) return "- (not all are timed)";
    spreads.push_back((plan.*spread).half_iqr / (plan.*spread).median);
  }
  std::sort(spreads.begin(), spreads.end());
  const double noise = spreads[spreads.size() / 2];
  const MainEffect* best = Largest(result.effects, share);
  if (best == nullptr) return "no axis";
  double slowest = best->levels[0].*rate, fastest = slowest;
  for (const MainEffect::Level& level : best->levels) {
    slowest = std::min(slowest, level.*rate);
    fastest = std::max(fastest, level.*rate);
  }
  if (!(fastest / slowest - 1 > noise)) {
    return absl::StrCat("no axis beyond the timings' spread of ",
                        Percent(noise));
  }
  return absl::StrCat(best->selector, " (", Percent(best->*share), ")");
}

std::string Effects(const SweepOptions& options, const SweepResult& result) {
  std::string text = absl::StrFormat(
      "\n## Main effects\n\n"
      "Geometric means over the plans with that strategy; shares are of the "
      "variance of the logarithm (eta squared).\n\n"
      "| Axis | Strategy | %s | Decode tok/s | Prefill tok/s | Share of error "
      "| "
      "Share of decode | Share of prefill |\n"
      "|------|----------|------:|------:|------:|------:|------:|------:|\n",
      options.metric->name);
  for (const MainEffect& effect : result.effects) {
    for (size_t l = 0; l < effect.levels.size(); ++l) {
      const MainEffect::Level& level = effect.levels[l];
      absl::StrAppendFormat(
          &text, "| %s | %s | %.3e | %s | %s | %s | %s | %s |\n",
          l == 0 ? effect.selector : "", level.strategy, level.error,
          MeanRate(level.decode_rate), MeanRate(level.prefill_rate),
          l == 0 ? Percent(effect.error_share) : "",
          l == 0 ? Percent(effect.decode_share) : "",
          l == 0 ? Percent(effect.prefill_share) : "");
    }
  }
  absl::StrAppendFormat(
      &text,
      "\nMoved most: the error by %s, decode speed by %s, prefill speed by "
      "%s.\n",
      ErrorMover(result.effects),
      SpeedMover(result, &MainEffect::decode_share,
                 &MainEffect::Level::decode_rate, &PlanResult::decode_rate),
      SpeedMover(result, &MainEffect::prefill_share,
                 &MainEffect::Level::prefill_rate, &PlanResult::prefill_rate));
  return text;
}

}  // namespace

std::string ReportText(const RunInfo& info, const SweepOptions& options,
                       const SweepResult& result) {
  std::string text = absl::StrFormat(
      "# ulpscope\n\n%s\n\nRun on %s, target %s, %d threads; a decode step "
      "reads %.1f MB of weights. %s\n\n",
      ModelLine(info), info.cpu, info.target, info.threads,
      static_cast<double>(info.decode_bytes) / 1e6, TuningLine(info.wisdom));
  if (!result.stopped_in.empty()) {
    absl::StrAppend(
        &text, "**Stopped by ", info.stopped_by, " ", result.stopped_in,
        ".** This was measured until then; `-` is what was not.\n\n");
  }
  // The measured ones stand first.
  const size_t measured = static_cast<size_t>(
      std::count_if(result.plans.begin(), result.plans.end(),
                    [](const PlanResult& plan) { return plan.measured(); }));
  if (measured > 0) text += Ranking(options, result);
  const PlanResult& best = result.plans.front();
  if (result.plans.size() == 1) {
    text += TokenSection(info, options, best, "Plan");
  } else if (measured > 0) {
    text += TokenSection(info, options, best, "Best plan");
    text +=
        TokenSection(info, options, result.plans[measured - 1], "Worst plan");
  }
  if (measured < result.plans.size()) text += UntilStopped(result);
  text +=
      "\nAt position 0 the softmax is over a single score: no softmax strategy "
      "can matter there.\n";
  if (!result.effects.empty()) text += Effects(options, result);
  if (info.synthetic) {
    absl::StrAppend(&text, "\nAll figures are of SYNTHETIC weights (",
                    info.model, "), not of a trained model.\n");
  }
  return text;
}

}  // namespace ulpscope
