#ifndef EXPLORER_ATTRIBUTION_REPAIR_RESULT_H_
#define EXPLORER_ATTRIBUTION_REPAIR_RESULT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/attribution/upgrade.h"
#include "explorer/error/budget.h"
#include "explorer/error/evaluation.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// What the upgrades cost, in tokens per second.
struct RepairCost {
  Spread plan_decode, repaired_decode;
  Spread plan_prefill, repaired_prefill;
  // The repaired plan's rate by the plan's, of neighbouring runs.
  Spread decode_ratio, prefill_ratio;
};

struct RepairResult {
  Budget budget;
  // That upgrades may choose from; empty where they take the reference's.
  std::vector<Strategy> strategies;
  std::optional<double> error_before;  // the plan's; none if not reached
  bool reached = false;                // whether a set keeps the budget
  // The smallest set found; empty if the plan keeps the budget by itself, or if
  // nothing does. Its error is that of running it alone.
  UpgradeSet repair;
  std::vector<std::string> entries;  // UpgradeEntries of it
  // Sets of as many ops and cells, which may be faster.
  std::vector<UpgradeSet> alternatives;
  // If nothing keeps the budget: the least error, none if none is known, and
  // whether it is that of upgrading everything rather than of a part.
  std::optional<double> best_error;
  bool best_is_everything = true;
  std::optional<RepairCost> cost;  // TimeRepair
  // Whether the plan, or it with upgrades, is emulated (Plan::emulated): there
  // is no cost to be measured then. Known after TimeRepair.
  bool emulated = false;
  size_t streams = 0;      // how many were run
  size_t passes = 0;       // RunLockstep calls
  std::string stopped_in;  // what was not finished; empty if all was
};

struct RepairOptions {
  Budget budget;
  std::vector<Strategy> strategies;
};

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_REPAIR_RESULT_H_
