#ifndef EXPLORER_DIAGNOSIS_SEARCH_H_
#define EXPLORER_DIAGNOSIS_SEARCH_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"

namespace ulpscope {

struct SearchResult {
  Belief belief;  // with all that was accepted
  Fit before;     // of the belief that it began with
  Fit after;
  std::vector<Tried> tried;  // on the belief that it began with, the best first
  // By accepted id, others that no point can tell from it.
  std::map<std::string, std::vector<std::string>> same_as;
};

// Looks for what makes a replay fit the trace: singles, one after the other,
// then pairs of the best. A hypothesis is accepted if
//   - it explains a point that nothing explained, by coming nearer to it, and
//     spoils none; or
//   - all points are within their rounding with and without it, but it moves
//     at least 36 elements, and three of four of them, nearer to the trace's:
//     rounding points that are elsewhere.
// Of what was accepted, whatever proves needless is dropped again.
absl::StatusOr<SearchResult> SearchHypotheses(const ReplaySetting& setting,
                                              WeightSets& weights,
                                              const AlignedTrace& trace,
                                              const Belief& belief);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_SEARCH_H_
