#ifndef EXPLORER_DIAGNOSIS_ROUNDING_CAUSES_H_
#define EXPLORER_DIAGNOSIS_ROUNDING_CAUSES_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/attribution/verdict.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/search.h"

namespace ulpscope {

struct RoundingCauses {
  std::optional<Verdict> verdict;
  std::vector<DiagnosedCause> causes;
};

// Where the rounding of a 16-bit arithmetic becomes what it is: --attribute's
// verdict on it, and its parts as causes: where the rounding arises, and what
// exposes it. Nothing for a finer arithmetic. `states` are the trace's.
absl::StatusOr<RoundingCauses> AttributeRounding(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& aligned, const SearchResult& search,
    const std::vector<StateDistance>& states);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ROUNDING_CAUSES_H_
