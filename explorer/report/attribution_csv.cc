#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/report/attribution_report.h"
#include "explorer/report/report_files.h"
#include "explorer/report/run_info.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"

namespace ulpscope {

std::string AttributionCsv(const RunInfo& info,
                           const AttributionResults& results) {
  std::string text =
      "model,synthetic,plan,tokens,map,layer,op,strategy,complete,changes_bits,"
      "rel_l2,logits_rel_l2,kl,share,cosine,gain,logits_gain,moved,"
      "logits_moved\n";
  const std::string start = absl::StrCat(
      CsvField(info.model), info.synthetic ? ",true," : ",false,",
      CsvField(results.plan->Text()), ",", results.tokens.size(), ",");
  // One row; NaN leaves a field empty.
  const auto append = [&](absl::string_view map, absl::string_view layer,
                          absl::string_view op, absl::string_view strategy,
                          absl::string_view changes_bits, const Effect& effect,
                          const std::vector<double>& more) {
    absl::StrAppend(&text, start, map, ",", layer, ",", op, ",", strategy, ",",
                    effect.complete ? "true," : "false,", changes_bits);
    std::vector<double> all = {effect.rel_l2, effect.logits_rel_l2, effect.kl};
    all.insert(all.end(), more.begin(), more.end());
    for (const double x : all) {
      absl::StrAppend(&text, ",",
                      std::isnan(x) ? "" : absl::StrFormat("%.17g", x));
    }
    text += "\n";
  };
  const auto layer_of = [](const Cell& cell) {
    return absl::StrCat(cell.layer);
  };
  const auto strategy_at = [&results](const Cell& cell) {
    return results.plan->Get(cell.layer, cell.op).name();
  };
  const double none = std::numeric_limits<double>::quiet_NaN();
  const auto figures = [none](const Repair& r) -> std::vector<double> {
    return {none, none, r.gain, r.logits_gain, r.moved, r.logits_moved};
  };
  const Attribution& a = *results.attribution;
  append("plan", "", "", "", "", a.plan, {none, none, none, none, none, none});
  for (const Cause& c : a.causes) {
    append("cause", layer_of(c.cell), OpName(c.cell.op), strategy_at(c.cell),
           c.changes_bits ? "true" : "false", c.effect,
           {c.share, c.cosine, none, none, none, none});
  }
  for (const Repair& r : a.repairs) {
    append("repair", layer_of(r.cell), OpName(r.cell.op), strategy_at(r.cell),
           "", r.effect, figures(r));
  }
  for (const Repair& r : a.op_repairs) {
    append("op_repair", "", OpName(r.cell.op), "", "", r.effect, figures(r));
  }
  for (const Repair& r : a.group_repairs) {
    append("group_repair", "", KernelName(OpKernel(r.cell.op)), "", "",
           r.effect, figures(r));
  }
  for (const Repair& r : a.layer_repairs) {
    append("layer_repair", layer_of(r.cell), "", "", "", r.effect, figures(r));
  }
  return text;
}

}  // namespace ulpscope
