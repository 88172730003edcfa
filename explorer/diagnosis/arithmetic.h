#ifndef EXPLORER_DIAGNOSIS_ARITHMETIC_H_
#define EXPLORER_DIAGNOSIS_ARITHMETIC_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "kernels/base/format.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// An arithmetic that a whole model may be run in.
struct ArithmeticPreset {
  const char* name;
  const char* plan;
  const char* summary;  // "PyTorch's eager bf16"
  Format result;        // that holds its results
  bool rope_angles_f32;
};

absl::Span<const ArithmeticPreset> ArithmeticPresets();

// The belief that it is this preset, of so many layers, and nothing else.
Belief BeliefIn(absl::string_view preset, size_t num_layers);

struct ArithmeticFindings {
  Arithmetic arithmetic;
  Belief belief;                     // the preset that was taken
  std::vector<Belief> alternatives;  // others that could have made the values
  std::vector<std::string> closest;  // [point]: the nearest preset's name
};

// What the trace was computed in, given what is known of it: of the presets
// that are tried for its format and whose results can hold its values the one
// whose replays come nearest, or as near and explain more points.
absl::StatusOr<ArithmeticFindings> FindArithmetic(
    const ReplaySetting& setting, WeightSets& weights,
    const AlignedTrace& trace, const std::vector<Hypothesis>& accepted);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ARITHMETIC_H_
