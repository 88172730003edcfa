#ifndef EXPLORER_DIAGNOSIS_ARITHMETIC_H_
#define EXPLORER_DIAGNOSIS_ARITHMETIC_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"

namespace ulpscope {

struct ArithmeticFindings {
  Arithmetic arithmetic;
  Belief belief;                     // the preset that was taken
  std::vector<Belief> alternatives;  // others that could have made the values
  std::vector<std::string> closest;  // [point]: the nearest preset's name
};

// What the trace was computed in, given what is known of it: of the presets
// that are tried for its format and whose results can hold its values, and
// whose runs are about as far from the oracle as the trace is, the one whose
// replays come nearest, or as near and explain more points.
absl::StatusOr<ArithmeticFindings> FindArithmetic(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& trace, const std::vector<Hypothesis>& accepted);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ARITHMETIC_H_
