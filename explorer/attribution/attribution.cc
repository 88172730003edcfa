#include "explorer/attribution/attribution.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "explorer/attribution/cause_map.h"
#include "explorer/attribution/layer_split.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effects.h"
#include "explorer/error/position_errors.h"

namespace ulpscope {
namespace {

absl::Status RunParts(const Run& run, const Baseline& baseline,
                      const AttributionParts& parts, Attribution& result) {
  absl::Status status;
  if (parts.layers) status = SplitLayers(run, baseline, result.layers);
  if (!status.ok()) return status;
  if (parts.causes) {
    status = MapCauses(run, baseline, parts.logits_of_causes, result);
  }
  if (!status.ok()) return status;
  if (parts.repairs) status = MapRepairs(run, baseline, result);
  return status;
}

}  // namespace

absl::StatusOr<Attribution> Attribute(const Run& run, const Baseline& baseline,
                                      const AttributionParts& parts) {
  Attribution result;
  auto plan = OutcomeOfPlan(run, baseline);
  if (!plan.ok()) return plan.status();
  result.plan = std::move(plan->effect);
  result.stopped_in = baseline.stopped_in;
  if (!result.stopped_in.empty()) return result;
  auto positions = ErrorsByPosition(run, baseline);
  if (!positions.ok()) return positions.status();
  result.positions = std::move(positions->of);
  const absl::Status status =
      RunParts(run.Without(baseline.bytes), baseline, parts, result);
  if (absl::IsCancelled(status)) {
    result.stopped_in = std::string(status.message());
  } else if (!status.ok()) {
    return status;
  }
  return result;
}

}  // namespace ulpscope
