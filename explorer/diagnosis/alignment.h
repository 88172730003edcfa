#ifndef EXPLORER_DIAGNOSIS_ALIGNMENT_H_
#define EXPLORER_DIAGNOSIS_ALIGNMENT_H_

#include "absl/status/statusor.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/results.h"
#include "explorer/diagnosis/traced_values.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// Which layer each of the trace's hidden states is of, and whether the tokens
// are the trace's. Replays by the oracle decide: only a layer's own weights
// make the next state out of the one before it, whatever the arithmetic.
absl::StatusOr<Alignment> Align(const ReplaySetting& setting,
                                const Weights& weights,
                                const TracedValues& trace);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_ALIGNMENT_H_
