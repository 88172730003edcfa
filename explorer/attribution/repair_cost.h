#ifndef EXPLORER_ATTRIBUTION_REPAIR_COST_H_
#define EXPLORER_ATTRIBUTION_REPAIR_COST_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "explorer/attribution/repair.h"
#include "explorer/error/run.h"
#include "model/architecture/plan.h"

namespace ulpscope {

struct RepairTiming {
  std::vector<int32_t> prompt;
  size_t max_rounds = 5;    // at least 2 are made
  double seconds = 60;      // no further round starts after that; 0: no timing
  size_t decode_steps = 3;  // per round
};

// Times the plan, the repair and its alternatives in alternating rounds, makes
// that of the fastest decoding the repair, and sets its cost. No cost if
// stopped in the first round, if there is nothing to repair, if no time is to
// be taken, or if any of these plans is emulated.
absl::Status TimeRepair(const Run& run, const Plan& plan,
                        const RepairTiming& timing, RepairResult& result);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_REPAIR_COST_H_
