#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/metrics.h"
#include "explorer/report/error_table.h"
#include "explorer/report/report.h"
#include "explorer/report/report_files.h"
#include "explorer/report/run_info.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::ordered_json;

Json JsonOf(const Spread& rate) {
  return {{"median", rate.median}, {"half_iqr", rate.half_iqr}};
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
                      {"error", ErrorMetricsJson(row.error)},
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
      {"final_norm", metrics.final_norm.has_value()
                         ? ErrorMetricsJson(*metrics.final_norm)
                         : Json()},
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

std::string ReportJson(const RunInfo& info, const SweepOptions& options,
                       const SweepResult& result) {
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
  Json context = ModelJson(info);
  context.update(Json{{"decode_bytes", info.decode_bytes},
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
                      {"prompt", options.prompt}});
  const Json json = {{"context", context},
                     {"stopped_by", stopped ? Json(info.stopped_by) : Json()},
                     {"stopped_in", stopped ? Json(result.stopped_in) : Json()},
                     {"plans", plans},
                     {"main_effects", effects}};
  return JsonText(json);
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

}  // namespace ulpscope
