#ifndef EXPLORER_ATTRIBUTION_CURE_H_
#define EXPLORER_ATTRIBUTION_CURE_H_

#include <vector>

#include "absl/status/status.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/baseline.h"
#include "explorer/error/run.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// Runs the source's ops by themselves, under the plan and under each of the
// strategies, for what is isolated; and the plan with the source upgraded to
// each of them, for its cures: its ops in its layers, its ops in all layers,
// and these with the ops that make and remove its massive activation. Where the
// reference is not the oracle, what is upgraded takes the reference's strategy
// instead. Being stopped is no error.
absl::Status TryCures(const Run& run, const Baseline& baseline,
                      const std::vector<Strategy>& strategies,
                      Verdict& verdict);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_CURE_H_
