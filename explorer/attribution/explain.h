#ifndef EXPLORER_ATTRIBUTION_EXPLAIN_H_
#define EXPLORER_ATTRIBUTION_EXPLAIN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/budget.h"
#include "explorer/error/run.h"
#include "explorer/phenomena/phenomena.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/plan.h"

namespace ulpscope {

struct ExplainOptions {
  std::vector<int32_t> tokens;
  Budget budget;
  std::vector<Strategy> strategies;  // that repairs may choose from
  // What a repair costs is timed on this prompt, in so many rounds; 0 for none.
  std::vector<int32_t> timing_prompt;
  size_t timing_rounds = 5;
};

// Where a plan's error comes from, all that --attribute says of it.
struct Explanation {
  Plan plan{0};
  std::vector<int32_t> tokens;
  Phenomena phenomena;
  Attribution attribution;
  Verdict verdict;
  std::optional<RepairResult> repair;  // none if it was not begun
  // The first part that was not finished when it was stopped; what comes
  // behind it is empty. Empty if all was finished.
  std::string stopped_in;
};

// Runs the phenomena, the attribution, the verdict's cures, the search of the
// smallest repair, and its timing. InvalidArgument for tokens that the model
// does not take. Being stopped is no error.
absl::StatusOr<Explanation> Explain(const Run& run, const Plan& plan,
                                    const ExplainOptions& options);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_EXPLAIN_H_
