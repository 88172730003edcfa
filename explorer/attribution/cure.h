#ifndef EXPLORER_ATTRIBUTION_CURE_H_
#define EXPLORER_ATTRIBUTION_CURE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "explorer/attribution/verdict.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

struct CureOptions {
  std::vector<Strategy> strategies;
  std::vector<int32_t> tokens;
  size_t memory = SIZE_MAX;    // LockstepOptions
  std::function<bool()> stop;  // the same
};

// Runs the source's ops by themselves, under the plan and under each of the
// strategies, for what is isolated; and the plan with the source upgraded to
// each of them, for its cures: its ops in its layers, its ops in all layers,
// and these with the ops that make and remove its massive activation. Being
// stopped is no error.
absl::Status TryCures(const Weights& weights, const Plan& plan,
                      const CureOptions& options, Parallel& parallel,
                      Verdict& verdict);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_CURE_H_
