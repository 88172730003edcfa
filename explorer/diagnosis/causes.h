#ifndef EXPLORER_DIAGNOSIS_CAUSES_H_
#define EXPLORER_DIAGNOSIS_CAUSES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/search.h"
#include "explorer/diagnosis/traced_values.h"

namespace ulpscope {

// Which of a cause's confirmations were made, by "replay" and by "run", and of
// these which confirm it and which do not. A replay that has no more of the
// trace's bits confirms nothing; nor does one of which no bits are known, where
// rounding explains what it explains.
struct Confirmation {
  std::vector<std::string> by, not_by;
};

Confirmation ConfirmationOf(const DiagnosedCause& cause);

// What is compared that is not the same, each confirmed in two ways.
absl::StatusOr<std::vector<DiagnosedCause>> ComparisonsOf(
    const ReplaySetting& setting, WeightSets& weights,
    const TracedValues& trace, const AlignedTrace& aligned,
    const Belief& belief, const Alignment& alignment);

// What the search accepted of the trace's program, each confirmed by replays,
// which have to come nearer and to have more of the trace's bits, and by runs
// from the tokens on. What is not confirmed is taken back: `search` is without
// it then. Where the trace's results are as near the oracle as its arithmetic
// allows (`without_effect`), nothing is a mistake of its program.
absl::StatusOr<std::vector<DiagnosedCause>> ConfirmCauses(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& aligned, bool without_effect, SearchResult& search);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_CAUSES_H_
