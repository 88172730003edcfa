#ifndef EXPLORER_ATTRIBUTION_REPAIR_H_
#define EXPLORER_ATTRIBUTION_REPAIR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/baseline.h"
#include "explorer/error/budget.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/plan.h"

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
  std::vector<Strategy> strategies;  // that upgrades may choose from
  double error_before = 0;           // the plan's
  bool reached = false;              // whether a set keeps the budget
  // The smallest set found; empty if the plan keeps the budget by itself, or if
  // nothing does. Its error is that of running it alone.
  UpgradeSet repair;
  std::vector<std::string> entries;  // UpgradeEntries of it
  // Sets of as many ops and cells, which may be faster.
  std::vector<UpgradeSet> alternatives;
  // If nothing keeps the budget: the least error, and whether it is that of
  // upgrading everything rather than of a part.
  double best_error = 0;
  bool best_is_everything = true;
  std::optional<RepairCost> cost;  // TimeRepair
  size_t streams = 0;              // how many were run
  size_t passes = 0;               // RunLockstep calls
  std::string stopped_in;          // what was not finished; empty if all was
};

struct RepairOptions {
  Budget budget;
  std::vector<Strategy> strategies;
};

// Finds the smallest set of upgrades that keeps the budget: of the fewest ops,
// then of the fewest (layer, op) cells, then of the strategies that take the
// fewest instructions. An upgrade replaces a strategy by one whose error bound
// is lower, in a range of the layers where it is.
//
// What is found has been run. Rounding is a lottery, though, in which a few
// cells may win what more of them lose again. So ops are chosen by their
// upgrade in all layers, one if one is enough, and two if upgrading another op
// is never worse; of more, the shorter of two orders of harm, without what
// proves needless. Each is then narrowed to the shortest range of layers that
// keeps the budget together with every range that holds it.
//
// Being stopped is no error: `stopped_in` says what is missing.
absl::StatusOr<RepairResult> FindRepair(const Run& run,
                                        const Baseline& baseline,
                                        const RepairOptions& options);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_REPAIR_H_
