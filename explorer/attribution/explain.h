#ifndef EXPLORER_ATTRIBUTION_EXPLAIN_H_
#define EXPLORER_ATTRIBUTION_EXPLAIN_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_sets.h"
#include "explorer/attribution/luck.h"
#include "explorer/attribution/mechanisms.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/repair_cost.h"
#include "explorer/attribution/truth.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/budget.h"
#include "explorer/error/run.h"
#include "explorer/phenomena/phenomena.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/plan.h"

namespace ulpscope {

struct ExplainOptions {
  std::vector<int32_t> tokens;
  // Others of the same text, which show what is luck.
  std::vector<std::vector<int32_t>> windows;
  std::optional<Plan> against;  // the reference; none: the oracle
  Budget budget;
  std::vector<Strategy> strategies;  // that repairs may choose from
  RepairTiming timing;               // of what a repair costs
};

// Where a plan's error comes from, all that --attribute says of it.
struct Explanation {
  Plan plan{0};
  Plan reference{0};
  std::vector<int32_t> tokens;
  std::optional<Truth> truth;  // none if the reference is the oracle
  Phenomena phenomena;
  Attribution attribution;
  Verdict verdict;
  std::optional<ErrorSets> sets;  // none if they were not begun
  std::optional<Luck> luck;       // of the sets' `whole`, else of the smallest
  std::vector<Mechanism> mechanisms;
  std::optional<RepairResult> repair;  // none if it was not begun
  // The first part that was not finished when it was stopped; what comes
  // behind it is empty. Empty if all was finished.
  std::string stopped_in;
};

// Runs the phenomena, who is nearer to the oracle, the attribution, the
// sets of cells that halve the error, the verdict's cures, the search of the
// smallest repair, and its timing.
// InvalidArgument for tokens that the model does not take. Being stopped is no
// error. `on_stage`, unless null, gets what there is between the parts: later
// failures do not take that away.
absl::StatusOr<Explanation> Explain(
    const Run& run, const Plan& plan, const ExplainOptions& options,
    const std::function<void(const Explanation&)>& on_stage = nullptr);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_EXPLAIN_H_
