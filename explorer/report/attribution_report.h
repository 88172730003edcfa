#ifndef EXPLORER_REPORT_ATTRIBUTION_REPORT_H_
#define EXPLORER_REPORT_ATTRIBUTION_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "explorer/attribution/attribution.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/run_info.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// All that is known of one plan's error. What was not looked for, or not before
// the run was stopped, is null.
struct AttributionResults {
  const Plan* plan = nullptr;
  std::vector<int32_t> tokens;
  const Attribution* attribution = nullptr;
  const Phenomena* phenomena = nullptr;      // may be null
  std::vector<std::string> phenomena_lines;  // their names, a sentence each
  const Verdict* verdict = nullptr;
  const RepairResult* repair = nullptr;  // may be null
  std::string stopped_in;                // what was not finished, or empty
};

// Markdown for the terminal and attribution.md, the verdict first. The maps are
// at most 120 columns wide.
std::string AttributionText(const RunInfo& info,
                            const AttributionResults& results);

// {"context": ..., "attribution": ...}: every figure of AttributionText
// included. What is not a number, or infinite, is null, as in ReportJson.
std::string AttributionJson(const RunInfo& info,
                            const AttributionResults& results);

// The maps, a row each: of the plan, the causes, the repairs, the repairs of an
// op in all layers, of a group (whose name is in the column of ops) and of a
// layer. What does not apply is empty.
std::string AttributionCsv(const RunInfo& info,
                           const AttributionResults& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_ATTRIBUTION_REPORT_H_
