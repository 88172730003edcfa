#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution.h"
#include "explorer/attribution_report.h"
#include "explorer/budget.h"
#include "explorer/channel_errors.h"
#include "explorer/error_source.h"
#include "explorer/evaluation.h"
#include "explorer/massive_channel.h"
#include "explorer/output_range.h"
#include "explorer/phenomena.h"
#include "explorer/repair.h"
#include "explorer/report.h"
#include "explorer/upgrade.h"
#include "explorer/verdict.h"
#include "explorer/verdict_text.h"
#include "kernels/format.h"
#include "kernels/strategy.h"
#include "model/config.h"
#include "model/op.h"
#include "model/plan.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

// Its dump writes null for NaN and infinities.
using Json = nlohmann::ordered_json;

std::string Name(Op op) { return std::string(OpName(op)); }

// Of the group that the op belongs to.
std::string GroupName(Op op) { return std::string(KernelName(OpKernel(op))); }

Json NamesJson(const std::vector<Op>& ops) {
  Json names = Json::array();
  for (const Op op : ops) names.push_back(Name(op));
  return names;
}

// An array with one element per value.
template <typename T, typename Fn>
Json ArrayOf(const std::vector<T>& values, const Fn& json_of) {
  Json array = Json::array();
  for (const T& value : values) array.push_back(json_of(value));
  return array;
}

Json CellJson(const Cell& cell) {
  return {{"layer", cell.layer}, {"op", Name(cell.op)}};
}

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

Json PartJson(const SourcePart& part) {
  return {{"layer", part.layer},
          {"ops", NamesJson(part.ops)},
          {"squared_share", part.squared_share}};
}

Json SourceJson(const ErrorSource& s) {
  Json json = {{"ops", NamesJson(s.ops)},
               {"first_layer", s.first_layer},
               {"last_layer", s.last_layer},
               {"squared_share", s.squared_share},
               {"share", s.share}};
  if (s.channel.has_value()) {
    const SourceChannel& c = *s.channel;
    json["channel"] = {{"channel", c.channel},
                       {"error_share", c.error_share},
                       {"massive", c.massive}};
    if (c.massive) {
      json["channel"].update(Json{{"position", c.position},
                                  {"born", c.born},
                                  {"removed", c.removed},
                                  {"value", c.value},
                                  {"value_layer", c.value_layer},
                                  {"ratio_to_median", c.ratio_to_median},
                                  {"format", std::string(FormatName(c.format))},
                                  {"spacing", c.spacing}});
    }
  }
  if (s.makes.has_value()) json["makes"] = PartJson(*s.makes);
  if (s.until_removal.has_value()) {
    json["until_removal"] = PartJson(*s.until_removal);
  }
  if (s.removes.has_value()) json["removes"] = PartJson(*s.removes);
  json["gains"] = ArrayOf(s.gains, [](const OpGain& gain) {
    return Json{{"op", Name(gain.op)}, {"gain", gain.gain}};
  });
  if (s.isolated.has_value()) {
    json["isolated"] = {
        {"rel_l2", s.isolated->rel_l2},
        {"upgraded",
         ArrayOf(s.isolated->upgraded, [](const Isolated::Upgraded& u) {
           return Json{{"strategy", std::string(u.strategy.name())},
                       {"rel_l2", u.rel_l2}};
         })}};
  }
  json["cures"] = ArrayOf(s.cures, [](const Cure& cure) {
    return Json{{"scope", std::string(ScopeName(cure.scope))},
                {"strategy", std::string(cure.strategy.name())},
                {"entries", cure.entries},
                {"rel_l2", cure.rel_l2}};
  });
  return json;
}

Json VerdictJson(const Verdict& v, const RepairResult* repair) {
  Json json = {{"rel_l2", v.rel_l2},
               {"logits_rel_l2", v.logits_rel_l2},
               {"kl", v.kl},
               {"exact", v.exact}};
  if (v.nonfinite_from.has_value()) json["nonfinite_from"] = *v.nonfinite_from;
  if (!v.nonfinite_cells.empty()) {
    json["nonfinite_cells"] = ArrayOf(v.nonfinite_cells, CellJson);
  }
  if (v.source.has_value()) json["source"] = SourceJson(*v.source);
  json["ops"] = ArrayOf(v.ops, [](const OpShare& op) {
    return Json{{"op", Name(op.op)},
                {"squared_share", op.squared_share},
                {"share", op.share}};
  });
  if (v.head.has_value()) {
    json["head"] = {{"op", Name(v.head->op)},
                    {"squared_share", v.head->squared_share}};
  }
  if (v.exposed_by.has_value()) {
    const Exposure& e = *v.exposed_by;
    json["exposed_by"] = {{"layer", e.layer},
                          {"op", Name(e.op)},
                          {"cancellation", e.ratio},
                          {"std_before", e.std_before},
                          {"std_after", e.std_after},
                          {"rel_l2_before", e.error_before},
                          {"rel_l2_after", e.error_after}};
  }
  if (v.spread_by.has_value()) {
    const Spreading& s = *v.spread_by;
    json["spread_by"] = {{"layer", s.layer},
                         {"top1_before", s.top1_before},
                         {"top1_after", s.top1_after},
                         {"amplification", s.amplification}};
  }
  json["no_effect"] = ArrayOf(v.no_effect, [](const NoEffect& op) {
    return Json{{"op", Name(op.op)},
                {"over_one_position", op.over_one_position}};
  });
  if (v.interaction.has_value()) {
    const Interaction& i = *v.interaction;
    json["interaction"] = {{"sum_cosine", i.sum_cosine},
                           {"sum_norm", i.sum_norm},
                           {"sum_rest", i.sum_rest},
                           {"squares_norm", i.squares_norm},
                           {"adds_up", i.adds_up}};
  }
  if (v.best_cell.has_value()) {
    json["best_cell_repair"] = CellJson(v.best_cell->cell);
    json["best_cell_repair"]["gain"] = v.best_cell->gain;
    json["best_cell_repair"]["most_moved"] = v.best_cell->most_moved;
  }
  if (v.best_op.has_value()) {
    json["best_op_repair"] = {{"op", Name(v.best_op->cell.op)},
                              {"gain", v.best_op->gain}};
  }
  if (v.best_group.has_value()) {
    json["best_group_repair"] = {{"group", GroupName(v.best_group->cell.op)},
                                 {"gain", v.best_group->gain}};
  }
  if (v.best_layer.has_value()) {
    json["best_layer_repair"] = {{"layer", v.best_layer->cell.layer},
                                 {"gain", v.best_layer->gain}};
  }
  json["stopped_in"] = v.stopped_in;
  json["sentences"] = Sentences(v, repair);
  return json;
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

Json BreakdownJson(const Breakdown& b) {
  return {{"layer", b.layer},
          {"op", Name(b.op)},
          {"position", b.position},
          {"element", b.element}};
}

Json FitJson(const FormatFit& fit) {
  return {{"headroom_bits", fit.headroom}, {"underflow", fit.underflow}};
}

Json PhenomenaJson(const Phenomena& p, const std::vector<std::string>& lines) {
  Json json = {
      {"lines", lines},
      {"positions", p.positions},
      {"softmax_over_one", p.softmax_over_one()},
      {"massive_channels",
       ArrayOf(p.massive,
               [](const MassiveChannel& m) {
                 return Json{
                     {"channel", m.channel},
                     {"position", m.position},
                     {"born", m.born},
                     {"born_op", Name(m.born_op)},
                     {"removed", m.removed},
                     {"removed_op",
                      m.removed > 0 ? Json(Name(m.removed_op)) : Json(nullptr)},
                     {"left", m.left},
                     {"value", m.value},
                     {"value_layer", m.value_layer},
                     {"ratio_to_median", m.ratio_to_median}};
               })},
      {"cancellations", ArrayOf(p.cancellations,
                                [](const CancellingAdd& add) {
                                  return Json{{"layer", add.layer},
                                              {"op", Name(add.op)},
                                              {"ratio", add.ratio},
                                              {"std_before", add.std_before},
                                              {"std_after", add.std_after}};
                                })},
      {"concentrations", ArrayOf(p.concentrations,
                                 [](const Concentration& c) {
                                   return Json{{"layer", c.layer},
                                               {"channel", c.channel},
                                               {"top1", c.top1},
                                               {"top8", c.top8}};
                                 })},
      {"biases",
       ArrayOf(p.biases,
               [](const Bias& b) {
                 return Json{{"layer", b.layer},       {"mean", b.mean},
                             {"rms", b.rms},           {"z", b.z},
                             {"positive", b.positive}, {"negative", b.negative},
                             {"z_signs", b.z_signs}};
               })},
      {"headrooms", ArrayOf(p.headrooms, [](const Headroom& h) {
         return Json{{"layer", h.layer},
                     {"op", Name(h.op)},
                     {"largest", h.range.largest},
                     {"smallest", h.range.smallest},
                     {"f16", FitJson(h.range.F16())},
                     {"bf16", FitJson(h.range.BF16())},
                     {"f32", FitJson(h.range.F32())}};
       })}};
  if (p.oracle_breakdown.has_value()) {
    json["oracle_breakdown"] = BreakdownJson(*p.oracle_breakdown);
  }
  if (p.plan_breakdown.has_value()) {
    json["plan_breakdown"] = BreakdownJson(*p.plan_breakdown);
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

std::string Dump(const Json& json) {
  // A path may hold bytes that are not UTF-8; JSON cannot.
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string AttributionJson(const RunInfo& info,
                            const AttributionResults& results) {
  const ModelConfig& c = info.config;
  return Dump(
      Json{{"context",
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
             {"cpu", info.cpu},
             {"target", info.target},
             {"threads", info.threads}}},
           {"attribution", ResultsJson(info, results)}});
}

}  // namespace ulpscope
