#ifndef EXPLORER_DIAGNOSIS_TRYABLE_H_
#define EXPLORER_DIAGNOSIS_TRYABLE_H_

#include <vector>

#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/evidence.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/results.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// Hypotheses that can be added to a belief whose replay fits the trace like
// `fit`: those of the catalogue that it does not have, some of them only if
// something is left to explain; those that the evidence speaks for; where some
// layers are explained and others are not, all these in the first run of the
// others alone, if they change an op there that is not explained; and of each
// op that is not explained that it runs in another format, in the layers where
// it is not. Of states between layers alone, any op of the layer may be why one
// is not explained.
std::vector<Hypothesis> Tryable(const Weights& weights,
                                const AlignedTrace& trace, const Belief& belief,
                                const Fit& fit, const Evidence& evidence);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_TRYABLE_H_
