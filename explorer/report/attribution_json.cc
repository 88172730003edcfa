#include "explorer/report/attribution_json.h"

#include <string>
#include <vector>

#include "explorer/attribution/attribution.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/budget.h"
#include "explorer/error/evaluation.h"
#include "explorer/report/attribution_report.h"
#include "explorer/report/run_info.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"

namespace ulpscope {
namespace {

Json ErrorJson(const ErrorSize& e) {
  return {{"l2", e.l2},
          {"rel_l2", e.rel_l2},
          {"mean_abs", e.mean_abs},
          {"max_abs", e.max_abs},
          {"max_position", e.max_position},
          {"max_channel", e.max_channel}};
}

Json EffectJson(const Effect& e) {
  return {{"complete", e.complete},
          {"rel_l2", e.rel_l2},
          {"logits_rel_l2", e.logits_rel_l2},
          {"kl", e.kl},
          {"layers_rel_l2", e.layers}};
}

Json SplitJson(const LayerSplit& s) {
  return {{"layer", s.layer},
          {"total", ErrorJson(s.total)},
          {"inherited", ErrorJson(s.inherited)},
          {"local", ErrorJson(s.local)},
          {"amplification", s.amplification},
          {"relative_amplification", s.relative_amplification},
          {"identity_ulps", s.identity_ulps},
          {"ops", ArrayOf(s.ops,
                          [](const OpError& op) {
                            return Json{{"op", Name(op.op)},
                                        {"rel_l2", op.rel_l2},
                                        {"share", op.share}};
                          })},
          {"interaction_share", s.interaction_share}};
}

// What the repairs are of.
enum class RepairsOf { kCells, kOps, kGroups, kLayers };

Json RepairsJson(const std::vector<Repair>& repairs, RepairsOf of) {
  return ArrayOf(repairs, [&](const Repair& r) {
    Json json;
    if (of == RepairsOf::kCells || of == RepairsOf::kLayers) {
      json["layer"] = r.cell.layer;
    }
    if (of == RepairsOf::kCells || of == RepairsOf::kOps) {
      json["op"] = Name(r.cell.op);
    }
    if (of == RepairsOf::kGroups) json["group"] = GroupName(r.cell.op);
    json["gain"] = r.gain;
    json["logits_gain"] = r.logits_gain;
    json["moved"] = r.moved;
    json["logits_moved"] = r.logits_moved;
    json["effect"] = EffectJson(r.effect);
    return json;
  });
}

Json SpreadJson(const Spread& rate) {
  return {{"median", rate.median}, {"half_iqr", rate.half_iqr}};
}

Json SetJson(const UpgradeSet& set) {
  return {{"plan", set.plan.Text()},
          {"error", set.error},
          {"cells", set.cells()},
          {"upgrades", ArrayOf(set.upgrades, [](const Upgrade& upgrade) {
             return Json{{"op", Name(upgrade.op)},
                         {"strategy", std::string(upgrade.strategy.name())},
                         {"layers", upgrade.layers}};
           })}};
}

Json RepairJson(const RepairResult& r) {
  Json json = {{"budget", BudgetText(r.budget)},
               {"metric", std::string(MetricName(r.budget.metric))},
               {"limit", r.budget.limit},
               {"strategies", ArrayOf(r.strategies,
                                      [](const Strategy& strategy) {
                                        return std::string(strategy.name());
                                      })},
               {"reached", r.reached},
               {"error_before", r.error_before},
               {"streams", r.streams},
               {"passes", r.passes},
               {"stopped_in", r.stopped_in}};
  if (!r.reached) {
    json["best_error"] = r.best_error;
    json["best_is_everything"] = r.best_is_everything;
    return json;
  }
  json["entries"] = r.entries;
  json["repair"] = SetJson(r.repair);
  json["alternatives"] = ArrayOf(r.alternatives, SetJson);
  if (r.cost.has_value()) {
    json["cost"] = {
        {"plan_decode_tokens_per_second", SpreadJson(r.cost->plan_decode)},
        {"decode_tokens_per_second", SpreadJson(r.cost->repaired_decode)},
        {"decode_ratio", SpreadJson(r.cost->decode_ratio)},
        {"plan_prefill_tokens_per_second", SpreadJson(r.cost->plan_prefill)},
        {"prefill_tokens_per_second", SpreadJson(r.cost->repaired_prefill)},
        {"prefill_ratio", SpreadJson(r.cost->prefill_ratio)}};
  }
  return json;
}

Json ResultsJson(const RunInfo& info, const AttributionResults& r) {
  const Attribution& a = *r.attribution;
  const auto strategy_at = [&r](const Cell& cell) {
    return std::string(r.plan->Get(cell.layer, cell.op).name());
  };
  return {
      {"model", info.model},
      {"synthetic", info.synthetic},
      {"plan", r.plan->Text()},
      {"tokens", r.tokens},
      {"stopped_by", r.stopped_in.empty() ? "" : info.stopped_by},
      {"stopped_in", r.stopped_in},
      {"verdict", VerdictJson(*r.verdict, r.repair)},
      {"effect", EffectJson(a.plan)},
      {"layers", ArrayOf(a.layers, SplitJson)},
      {"cause_map", ArrayOf(a.causes,
                            [&](const Cause& c) {
                              return Json{{"layer", c.cell.layer},
                                          {"op", Name(c.cell.op)},
                                          {"strategy", strategy_at(c.cell)},
                                          {"changes_bits", c.changes_bits},
                                          {"share", c.share},
                                          {"cosine", c.cosine},
                                          {"effect", EffectJson(c.effect)}};
                            })},
      {"cause_sum",
       {{"cosine", a.sum_cosine}, {"norm", a.sum_norm}, {"rest", a.sum_rest}}},
      {"repair_map", RepairsJson(a.repairs, RepairsOf::kCells)},
      {"op_repairs", RepairsJson(a.op_repairs, RepairsOf::kOps)},
      {"group_repairs", RepairsJson(a.group_repairs, RepairsOf::kGroups)},
      {"layer_repairs", RepairsJson(a.layer_repairs, RepairsOf::kLayers)},
      {"minimal_repair",
       r.repair == nullptr ? Json(nullptr) : RepairJson(*r.repair)},
      {"phenomena", r.phenomena == nullptr
                        ? Json(nullptr)
                        : PhenomenaJson(*r.phenomena, r.phenomena_lines)}};
}

}  // namespace

std::string AttributionJson(const RunInfo& info,
                            const AttributionResults& results) {
  Json context = ModelJson(info);
  context.update(Json{
      {"cpu", info.cpu}, {"target", info.target}, {"threads", info.threads}});
  return JsonText(
      {{"context", context}, {"attribution", ResultsJson(info, results)}});
}

}  // namespace ulpscope
