#include <string>

#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/verdict.h"
#include "explorer/report/attribution_json.h"
#include "explorer/report/verdict_text.h"
#include "kernels/base/format.h"
#include "model/architecture/cell.h"

namespace ulpscope {
namespace {

Json CellJson(const Cell& cell) {
  return {{"layer", cell.layer}, {"op", Name(cell.op)}};
}

Json PartJson(const SourcePart& part) {
  return {{"layer", part.layer},
          {"ops", NamesJson(part.ops)},
          {"squared_share", part.squared_share}};
}

Json SourceJson(const Verdict& v) {
  const ErrorSource& s = *v.source;
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
                                  {"rounded", c.rounded}});
    }
    if (c.rounded) {
      json["channel"].update(Json{{"format", std::string(FormatName(c.format))},
                                  {"spacing", c.spacing}});
    }
  }
  if (s.makes.has_value()) json["makes"] = PartJson(*s.makes);
  if (s.until_removal.has_value()) {
    json["until_removal"] = PartJson(*s.until_removal);
  }
  if (s.removes.has_value()) json["removes"] = PartJson(*s.removes);
  json["gains"] = ArrayOf(s.gains, [](const OpGain& gain) {
    return Json{
        {"op", Name(gain.op)}, {"gain", gain.gain}, {"moved", gain.moved}};
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
  json["cures"] = ArrayOf(s.cures, [&v](const Cure& cure) {
    return Json{{"scope", std::string(ScopeName(cure.scope))},
                {"strategy", std::string(cure.strategy.name())},
                {"entries", cure.entries},
                {"rel_l2", cure.rel_l2},
                {"rel_l2_on_average", LeftOnAverage(v, cure.scope)}};
  });
  return json;
}

}  // namespace

Json VerdictJson(const Verdict& v, const RepairResult* repair) {
  Json json = {{"rel_l2", v.rel_l2},
               {"logits_rel_l2", v.logits_rel_l2},
               {"kl", v.kl},
               {"exact", v.exact}};
  if (v.nonfinite_from.has_value()) json["nonfinite_from"] = *v.nonfinite_from;
  if (!v.nonfinite_cells.empty()) {
    json["nonfinite_cells"] = ArrayOf(v.nonfinite_cells, CellJson);
  }
  if (v.source.has_value()) json["source"] = SourceJson(v);
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
                          {"inherited_after", e.inherited_after},
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

}  // namespace ulpscope
