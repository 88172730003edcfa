#ifndef EXPLORER_ATTRIBUTION_REPAIR_H_
#define EXPLORER_ATTRIBUTION_REPAIR_H_

#include "absl/status/statusor.h"
#include "explorer/attribution/repair_result.h"
#include "explorer/error/baseline.h"
#include "explorer/error/run.h"

namespace ulpscope {

// Finds the smallest set of upgrades that keeps the budget: of the fewest ops,
// then of the fewest (layer, op) cells, then of the strategies that take the
// fewest instructions. An upgrade replaces a strategy by one whose error bound
// is lower, in a range of the layers where it is; against another plan than the
// oracle, by that plan's.
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
