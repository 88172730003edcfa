#ifndef EXPLORER_DIAGNOSIS_ATTEMPT_H_
#define EXPLORER_DIAGNOSIS_ATTEMPT_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/run_ratio.h"
#include "explorer/diagnosis/search.h"
#include "explorer/diagnosis/traced_values.h"

namespace ulpscope {

// What comes of one reading of a trace.
struct Attempt {
  Alignment::Reading reading;
  std::unique_ptr<AlignedTrace> aligned;
  Arithmetic arithmetic;
  std::vector<std::string> closest;  // [point]: the nearest preset's name
  SearchResult search;
  std::vector<DiagnosedCause> causes;  // of what it accepted, confirmed
  // Of a run of the arithmetic with what it rounds elsewhere, and of one with
  // all that was accepted.
  std::optional<RunRatio> ratio, ratio_with_causes;

  // Whether the trace may have been computed so as a whole.
  bool agrees_with_run() const;
  // Whether what the trace's program computes is right in the end, whatever it
  // does on the way.
  bool is_without_effect() const;
};

// Under the likeliest arithmetic; if that leaves something unexplained, or its
// run is much nearer to the oracle than the trace, or farther, under the others
// that could have made the values, of which one is taken if it explains
// everything and its run agrees. A cause is looked for in all of them. The
// values must outlive the result.
absl::StatusOr<Attempt> TryReading(const ReplaySetting& setting,
                                   WeightSets& weights,
                                   const TracedValues& values,
                                   const Alignment::Reading& reading,
                                   StatesAre states_are);

bool IsExplained(const Fit& fit);

// Whether a leaves fewer points unexplained, or as many and comes nearer.
bool IsBetter(const Attempt& a, const Attempt& b);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ATTEMPT_H_
