#ifndef EXPLORER_DIAGNOSIS_CAUSES_H_
#define EXPLORER_DIAGNOSIS_CAUSES_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/search.h"
#include "explorer/verdict.h"
#include "model/reference_trace.h"
#include "model/weights.h"

namespace ulpscope {

// What was found, each confirmed in two ways: comparisons of what is not the
// same, and what the search accepted.
absl::StatusOr<std::vector<DiagnosedCause>> CausesOf(
    const ReplaySetting& setting, WeightSets& weights,
    const ReferenceTrace& trace, const AlignedTrace& aligned,
    const SearchResult& search, const Alignment& alignment);

struct RoundingCauses {
  std::optional<Verdict> verdict;
  std::vector<DiagnosedCause> causes;
};

// Where the rounding of a 16-bit arithmetic becomes what it is: --attribute's
// verdict on it, and its parts as causes. Nothing for a finer arithmetic.
absl::StatusOr<RoundingCauses> AttributeRounding(const ReplaySetting& setting,
                                                 const Weights& weights,
                                                 const Belief& belief);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_CAUSES_H_
