#ifndef EXPLORER_DIAGNOSIS_FREE_RUNS_H_
#define EXPLORER_DIAGNOSIS_FREE_RUNS_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// What runs from the tokens on say of a trace; as of Diagnosis.
struct FreeRuns {
  std::vector<StateDistance> states;
  std::optional<NonFinite> ours_nonfinite;
  int nearer_to_oracle = 0;
};

// Runs the oracle and our plan on the checkpoint's own weights, and what the
// trace's program is believed to compute. What is not finite on either side
// does not say who is nearer to the oracle.
absl::StatusOr<FreeRuns> CompareFreeRuns(const ReplaySetting& setting,
                                         WeightSets& weights, const Plan& plan,
                                         const AlignedTrace& trace,
                                         const Belief& belief);

// Counts the elements of a point that are not finite.
void Count(size_t elements, size_t point, std::optional<NonFinite>& all);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_FREE_RUNS_H_
