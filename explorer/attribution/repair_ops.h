#ifndef EXPLORER_ATTRIBUTION_REPAIR_OPS_H_
#define EXPLORER_ATTRIBUTION_REPAIR_OPS_H_

#include <vector>

#include "absl/status/status.h"
#include "explorer/attribution/repair_search.h"
#include "explorer/attribution/upgrade.h"

namespace ulpscope {

// Sets `working` to sets of the fewest ops, each in all layers where it can be
// upgraded; empty if none keeps the budget.
absl::Status FindOps(RepairSearch& search, std::vector<UpgradeSet>& working);

// The set's ops under each strategy: in the same layers where it is better than
// the plan's own, or wherever it is. Adds those that keep the budget.
absl::Status TryStrategies(RepairSearch& search, const UpgradeSet& set,
                           bool same_layers, std::vector<UpgradeSet>& working);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_REPAIR_OPS_H_
