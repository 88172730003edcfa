#ifndef EXPLORER_CURE_H_
#define EXPLORER_CURE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "explorer/verdict.h"
#include "kernels/parallel.h"
#include "kernels/strategy.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {

struct CureOptions {
  std::vector<Strategy> strategies;
  std::vector<int32_t> tokens;
  size_t memory = SIZE_MAX;    // LockstepOptions
  std::function<bool()> stop;  // the same
};

// Runs the plan with the source's ops upgraded to each of the strategies, in
// the source's layers and in all, and adds to the source's cures. Being stopped
// is no error.
absl::Status TryCures(const Weights& weights, const Plan& plan,
                      const CureOptions& options, Parallel& parallel,
                      Verdict& verdict);

}  // namespace ulpscope

#endif  // EXPLORER_CURE_H_
