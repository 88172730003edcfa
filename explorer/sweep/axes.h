#ifndef EXPLORER_SWEEP_AXES_H_
#define EXPLORER_SWEEP_AXES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// One factor of the factorial: a plan's selector, and strategies to give it.
struct Axis {
  std::string selector;             // "matmul", "down_proj@22-23"
  std::vector<std::string> levels;  // strategy names
};

// {f32, kahan, bf16} for each of matmul, rmsnorm and softmax: 27 plans.
inline constexpr char kDefaultAxes[] =
    "matmul=f32,kahan,bf16;rmsnorm=f32,kahan,bf16;softmax=f32,kahan,bf16";

// The most plans that a factorial may have.
inline constexpr size_t kMaxPlans = 4096;

// Reads "matmul=f32,kahan;residual=f32,bf16". Levels must be strategies that
// the selector takes, each once, and selectors must differ. As in a plan, a
// later axis wins where two overlap; it must leave something to the earlier
// one. InvalidArgument that names the axis otherwise, or for too many plans.
absl::StatusOr<std::vector<Axis>> ParseAxes(absl::string_view text,
                                            size_t num_layers,
                                            size_t max_plans = kMaxPlans);

// All combinations of levels, an index per axis, the last varying fastest.
std::vector<std::vector<size_t>> Factorial(const std::vector<Axis>& axes);

// The plan of one combination.
absl::StatusOr<Plan> PlanAt(const std::vector<Axis>& axes,
                            const std::vector<size_t>& levels,
                            size_t num_layers);

}  // namespace ulpscope

#endif  // EXPLORER_SWEEP_AXES_H_
