#ifndef EXPLORER_DIAGNOSIS_CAUSES_H_
#define EXPLORER_DIAGNOSIS_CAUSES_H_

#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/search.h"
#include "explorer/diagnosis/traced_values.h"

namespace ulpscope {

// What was found, each confirmed in two ways: comparisons of what is not the
// same, and what the search accepted.
absl::StatusOr<std::vector<DiagnosedCause>> CausesOf(
    const ReplaySetting& setting, WeightSets& weights,
    const TracedValues& trace, const AlignedTrace& aligned,
    const SearchResult& search, const Alignment& alignment);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_CAUSES_H_
