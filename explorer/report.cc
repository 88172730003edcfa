#include "explorer/report.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/evaluation.h"
#include "explorer/metrics.h"
#include "explorer/sweep.h"
#include "model/config.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::ordered_json;

std::string Rate(const Spread& rate) {
  if (std::isnan(rate.median)) return "-";
  return absl::StrFormat("%.1f ± %.1f", rate.median, rate.half_iqr);
}

// "-" for what has no value.
std::string Growth(double growth) {
  return std::isnan(growth) ? "-" : absl::StrFormat("%.3fx", growth);
}

std::string MeanRate(double rate) {
  return std::isnan(rate) ? "-" : absl::StrFormat("%.1f", rate);
}

std::string Percent(double share) {
  return std::isnan(share) ? "-" : absl::StrFormat("%.1f %%", 100 * share);
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
      "| Layers | Mean Abs Error | RMSE | Max Error | Growth Rate | Status | "
      "Rel L2 | Largest Activation |\n"
      "|--------|----------------|------|-----------|-------------|--------|"
      "--------|--------------------|\n";
  for (const LayerMetrics& row : metrics.layers) {
    if (!info.layers.empty() && info.layers.count(row.layer) == 0) continue;
    const ErrorMetrics& e = row.error;
    // Fixed digits as in the seed report, unless they would show nothing.
    const auto digits = [](double x) {
      return x != 0 && std::fabs(x) < 1e-4 ? absl::StrFormat("%.3e", x)
                                           : absl::StrFormat("%.6f", x);
    };
    absl::StrAppendFormat(
        &text, "| %d | %s | %s | %s | %s | %s | %.3e | %.4g (channel %d) |\n",
        row.layer, digits(e.mean_abs), digits(e.rmse), digits(e.max_abs),
        row.layer == 1 ? "1.000x" : Growth(row.growth), StatusOf(e.mean_abs),
        e.rel_l2, row.max_activation, row.max_channel);
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

Json JsonOf(const Spread& rate) {
  return {{"median", rate.median}, {"half_iqr", rate.half_iqr}};
}

Json JsonOf(const ErrorMetrics& e) {
  return {{"mean_abs", e.mean_abs},
          {"rmse", e.rmse},
          {"max_abs", e.max_abs},
          {"max_position", e.max_row},
          {"max_channel", e.max_col},
          {"mean_signed", e.mean_signed},
          {"rel_l2", e.rel_l2},
          {"cosine", e.cosine},
          {"f32_ulps",
           {{"p50", e.ulps.p50}, {"p99", e.ulps.p99}, {"max", e.ulps.max}}}};
}

Json JsonOf(const LogitMetrics& logits) {
  return {{"max_abs", logits.max_abs},
          {"kl", logits.kl},
          {"kl_max", logits.kl_max},
          {"top1_agreement", logits.top1_agreement},
          {"top10_overlap", logits.top10_overlap}};
}

Json JsonOf(const TraceMetrics& metrics) {
  Json layers = Json::array();
  for (const LayerMetrics& row : metrics.layers) {
    layers.push_back({{"layer", row.layer},
                      {"error", JsonOf(row.error)},
                      {"growth", row.growth},
                      {"status", StatusOf(row.error.mean_abs)},
                      {"std", row.std},
                      {"max_activation", row.max_activation},
                      {"max_activation_position", row.max_position},
                      {"max_activation_channel", row.max_channel},
                      {"attn_cancellation", row.cancellation.attn},
                      {"mlp_cancellation", row.cancellation.mlp}});
  }
  return {
      {"layers", layers},
      {"final_norm",
       metrics.final_norm.has_value() ? JsonOf(*metrics.final_norm) : Json()},
      {"logits", metrics.logits.has_value() ? JsonOf(*metrics.logits) : Json()},
      {"mean_growth", metrics.mean_growth}};
}

Json JsonOf(const MainEffect& effect) {
  Json levels = Json::array();
  for (const MainEffect::Level& level : effect.levels) {
    levels.push_back({{"strategy", level.strategy},
                      {"error", level.error},
                      {"decode_rate", level.decode_rate},
                      {"prefill_rate", level.prefill_rate}});
  }
  return {{"axis", effect.selector},
          {"levels", levels},
          {"error_share", effect.error_share},
          {"decode_share", effect.decode_share},
          {"prefill_share", effect.prefill_share}};
}

}  // namespace

std::string ModelLine(const RunInfo& info) {
  const ModelConfig& c = info.config;
  return absl::StrFormat(
      "Model: %s%s, %s: %d layers, hidden %d, intermediate %d, %d heads, %d KV "
      "heads of %d, vocabulary %d",
      info.model, info.synthetic ? " (SYNTHETIC weights)" : "",
      ArchitectureName(c.architecture), c.num_hidden_layers, c.hidden_size,
      c.intermediate_size, c.num_attention_heads, c.num_key_value_heads,
      c.head_dim, c.vocab_size);
}

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

std::string ReportJson(const RunInfo& info, const SweepOptions& options,
                       const SweepResult& result) {
  const ModelConfig& c = info.config;
  Json plans = Json::array();
  for (const PlanResult& plan : result.plans) {
    plans.push_back({{"plan", plan.plan},
                     {"rank", plan.rank == 0 ? Json() : Json(plan.rank)},
                     {"score", plan.score},
                     {"pareto", plan.pareto},
                     {"decode_tokens_per_second", JsonOf(plan.decode_rate)},
                     {"prefill_tokens_per_second", JsonOf(plan.prefill_rate)},
                     {"decode_seconds", plan.timing.decode},
                     {"prefill_seconds", plan.timing.prefill},
                     {"token", JsonOf(plan.token)},
                     {"prompt", JsonOf(plan.prompt)}});
  }
  Json effects = Json::array();
  for (const MainEffect& effect : result.effects) {
    effects.push_back(JsonOf(effect));
  }
  const bool stopped = !result.stopped_in.empty();
  const Json json = {
      {"context",
       {{"model", info.model},
        {"synthetic", info.synthetic},
        {"architecture", std::string(ArchitectureName(c.architecture))},
        {"num_hidden_layers", c.num_hidden_layers},
        {"hidden_size", c.hidden_size},
        {"intermediate_size", c.intermediate_size},
        {"num_attention_heads", c.num_attention_heads},
        {"num_key_value_heads", c.num_key_value_heads},
        {"head_dim", c.head_dim},
        {"vocab_size", c.vocab_size},
        {"decode_bytes", info.decode_bytes},
        {"load_seconds", info.load_seconds},
        {"cpu", info.cpu},
        {"target", info.target},
        {"threads", info.threads},
        {"wisdom",
         {{"used", info.wisdom.known > 0},
          {"file", info.wisdom.file},
          {"known_matmuls", info.wisdom.known},
          {"timed_matmuls", info.wisdom.timed},
          {"reason", info.wisdom.reason}}},
        {"axes", info.axes},
        {"metric", options.metric->name},
        {"seed", info.seed},
        {"token", options.token},
        {"prompt", options.prompt}}},
      {"stopped_by", stopped ? Json(info.stopped_by) : Json()},
      {"stopped_in", stopped ? Json(result.stopped_in) : Json()},
      {"plans", plans},
      {"main_effects", effects}};
  // A path may hold bytes that are not UTF-8; JSON cannot.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string ReportCsv(const RunInfo& info, const SweepOptions& options,
                      const SweepResult& result) {
  std::string text =
      "model,synthetic,cpu,target,threads,prompt_tokens,rank,pareto,plan,"
      "decode_tokens_per_second,decode_half_iqr,prefill_tokens_per_second,"
      "prefill_half_iqr,final_rmse,final_rel_l2,mean_growth,kl,top1_agreement,"
      "token_final_rmse,token_final_rel_l2,token_mean_growth\n";
  for (const PlanResult& plan : result.plans) {
    absl::StrAppend(
        &text,
        absl::StrJoin(
            {CsvField(info.model),
             std::string(info.synthetic ? "true" : "false"), CsvField(info.cpu),
             info.target, absl::StrCat(info.threads),
             absl::StrCat(options.prompt.size()),
             plan.rank == 0 ? "" : absl::StrCat(plan.rank),
             std::string(plan.pareto ? "true" : "false"), CsvField(plan.plan)},
            ","));
    for (const Spread& rate : {plan.decode_rate, plan.prefill_rate}) {
      text += std::isnan(rate.median)
                  ? ",,"
                  : absl::StrFormat(",%.17g,%.17g", rate.median, rate.half_iqr);
    }
    if (plan.measured()) {
      const ErrorMetrics& prompt = plan.prompt.final_hidden();
      const ErrorMetrics& token = plan.token.final_hidden();
      for (const double x :
           {prompt.rmse, prompt.rel_l2, plan.prompt.mean_growth,
            plan.prompt.logits->kl, plan.prompt.logits->top1_agreement,
            token.rmse, token.rel_l2, plan.token.mean_growth}) {
        absl::StrAppendFormat(&text, ",%.17g", x);
      }
    } else {
      text += std::string(8, ',');
    }
    text += "\n";
  }
  return text;
}

std::string CsvField(absl::string_view text) {
  if (text.find_first_of(",\"\r\n") == absl::string_view::npos) {
    return std::string(text);
  }
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

absl::Status MakeFolder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat(path, ": cannot create the folder: ", error.message()));
  }
  return absl::OkStatus();
}

absl::Status WriteFile(const std::string& path, absl::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file)
    return absl::UnavailableError(absl::StrCat(path, ": cannot write"));
  return absl::OkStatus();
}

}  // namespace ulpscope
