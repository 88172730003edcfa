#ifndef EXPLORER_CAUSE_MAP_H_
#define EXPLORER_CAUSE_MAP_H_

#include <vector>

#include "absl/status/status.h"
#include "explorer/attribution.h"
#include "explorer/effects.h"
#include "model/plan.h"

namespace ulpscope {

// Fills causes and how they add up. `final_hidden` is the plan's, [positions,
// hidden]. Cancelled, with a message that says where, if stopped: what is
// missing is then NaN, the sum's figures too.
absl::Status MapCauses(const RunSetting& setting, const OracleResults& oracle,
                       const Plan& plan,
                       const std::vector<double>& final_hidden,
                       Attribution& result);

// Fills the three lists of repairs; result.plan is the plan's effect.
// Cancelled, with a message that says where, if stopped.
absl::Status MapRepairs(const RunSetting& setting, const OracleResults& oracle,
                        const Plan& plan, Attribution& result);

}  // namespace ulpscope

#endif  // EXPLORER_CAUSE_MAP_H_
