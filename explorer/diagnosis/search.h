#ifndef EXPLORER_DIAGNOSIS_SEARCH_H_
#define EXPLORER_DIAGNOSIS_SEARCH_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"

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
//   - it explains a point that nothing explained, by coming nearer to it; or
//   - it reproduces, where the replay is to be bit for bit, a point that was
//   not
//     reproduced; or
//   - what it moves becomes the trace's bits for the most part, in more rows
//     than chance does: rounding points that are elsewhere;
// and it takes no point away that was explained or reproduced, by what was
// allowed there before.
// Of what was accepted, whatever proves needless is dropped again.
absl::StatusOr<SearchResult> SearchHypotheses(const ReplaySetting& setting,
                                              WeightSets& weights,
                                              const AlignedTrace& trace,
                                              const Belief& belief);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_SEARCH_H_
