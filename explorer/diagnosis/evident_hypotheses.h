#ifndef EXPLORER_DIAGNOSIS_EVIDENT_HYPOTHESES_H_
#define EXPLORER_DIAGNOSIS_EVIDENT_HYPOTHESES_H_

#include <vector>

#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/evidence.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "model/architecture/config.h"

namespace ulpscope {

// Entries of the catalogue that have numbers, which the evidence tells:
//   - positions of RoPE from the rows on that are rotated otherwise, by the
//     angle between theirs and ours where the trace has rope; else some that
//     fit the rows that differ;
//   - masks, by the softmax weights that are not 0, else likewise;
//   - factors of an op of weights, where a factor is all that differs;
//   - what becomes of logits.
// Each is one that a replay has to confirm.
std::vector<Hypothesis> EvidentHypotheses(const ModelConfig& config,
                                          const AlignedTrace& trace,
                                          const Belief& belief,
                                          const Evidence& evidence);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_EVIDENT_HYPOTHESES_H_
