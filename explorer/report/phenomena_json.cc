#include <string>
#include <vector>

#include "explorer/phenomena/channel_errors.h"
#include "explorer/phenomena/massive_channel.h"
#include "explorer/phenomena/output_range.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/attribution_json.h"

namespace ulpscope {
namespace {

Json BreakdownJson(const Breakdown& b) {
  return {{"layer", b.layer},
          {"op", Name(b.op)},
          {"position", b.position},
          {"element", b.element}};
}

Json FitJson(const FormatFit& fit) {
  return {{"headroom_bits", fit.headroom}, {"underflow", fit.underflow}};
}

}  // namespace

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

}  // namespace ulpscope
