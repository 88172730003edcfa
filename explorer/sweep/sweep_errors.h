#ifndef EXPLORER_SWEEP_SWEEP_ERRORS_H_
#define EXPLORER_SWEEP_SWEEP_ERRORS_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "explorer/error/windows.h"
#include "explorer/sweep/shard.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// The errors that a sweep asks MeasureErrors for.
struct SweepErrors {
  // Those that are swept, then the oracle, and what errors are against if that
  // is another.
  std::vector<Plan> plans;
  size_t num_swept = 0;
  size_t oracle = 0, against = 0;   // indices of plans
  std::vector<Window> windows;      // the token alone, then the prompt's
  std::vector<ErrorQuery> queries;  // by window, and in it by plan
};

// Measures these queries, which are divided among processes, and keeps them;
// those that are kept already are not measured again. Window by window and so
// many plans at once that a process that is killed loses minutes. Cancelled if
// stopped on the way, with how far it came.
absl::Status MeasureRange(const Run& run, const SweepErrors& errors,
                          const UnitRange& range);

}  // namespace ulpscope

#endif  // EXPLORER_SWEEP_SWEEP_ERRORS_H_
