#ifndef EXPLORER_ATTRIBUTION_CAUSE_MAP_H_
#define EXPLORER_ATTRIBUTION_CAUSE_MAP_H_

#include "absl/status/status.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/error/baseline.h"
#include "explorer/error/run.h"

namespace ulpscope {

// Fills causes and how they add up; result.plan is the plan's effect. Without
// `all_logits` (AttributionParts::logits_of_causes) nothing is kept.
// Cancelled, with a message that says where, if stopped: what is missing is
// then none.
absl::Status MapCauses(const Run& run, const Baseline& baseline,
                       bool all_logits, Attribution& result);

// Fills the lists of repairs; result.plan is the plan's effect.
// Cancelled, with a message that says where, if stopped.
absl::Status MapRepairs(const Run& run, const Baseline& baseline,
                        Attribution& result);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_CAUSE_MAP_H_
