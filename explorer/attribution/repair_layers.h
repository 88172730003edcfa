#ifndef EXPLORER_ATTRIBUTION_REPAIR_LAYERS_H_
#define EXPLORER_ATTRIBUTION_REPAIR_LAYERS_H_

#include "absl/status/status.h"
#include "explorer/attribution/repair_search.h"
#include "explorer/attribution/upgrade.h"

namespace ulpscope {

// Narrows the layers of a set that keeps the budget, op by op (repair.h).
absl::Status NarrowLayers(RepairSearch& search, UpgradeSet& set);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_REPAIR_LAYERS_H_
