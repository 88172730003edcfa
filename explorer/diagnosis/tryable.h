#ifndef EXPLORER_DIAGNOSIS_TRYABLE_H_
#define EXPLORER_DIAGNOSIS_TRYABLE_H_

#include <vector>

#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/results.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// Hypotheses that can be added to a belief whose replay fits the trace like
// `fit`: those of the catalogue that it does not have, and of each op that is
// not explained that it runs in another format, in the layers where it is not;
// of states between layers alone, any op of the layer.
std::vector<Hypothesis> Tryable(const Weights& weights,
                                const AlignedTrace& trace, const Belief& belief,
                                const Fit& fit);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_TRYABLE_H_
