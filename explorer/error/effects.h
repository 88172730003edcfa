#ifndef EXPLORER_ERROR_EFFECTS_H_
#define EXPLORER_ERROR_EFFECTS_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effect.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// What a plan's run has come to. What it did not reach is none.
struct Outcome {
  Effect effect;
  // Whether a bit of the final hidden state or of the logits, at any position,
  // differs from the oracle's.
  bool changes_bits = false;
  // How far its final hidden state and its logits are from those of the
  // baseline's plan: 2-norms, by the 2-norms of the oracle's.
  std::optional<double> moved, logits_moved;
};

// Sum over rows of fn, on all threads where that pays for waking them. The same
// bits on any number of them. The monitor is asked every few rows of logits, or
// null; the sum is of no use if it says so.
double SumOverRows(Matrix<const double> m, Parallel& parallel, Monitor* monitor,
                   absl::FunctionRef<double(size_t)> fn);

// The baseline's own plan, as far as it came.
Outcome OutcomeOfPlan(const Run& run, const Baseline& baseline);

// Sees the final hidden state of plans: streams as in LockstepObserver.
using FinalHiddenFn = std::function<void(absl::Span<const size_t> plans,
                                         Matrix<const double> final_hidden)>;

// Runs plans in lockstep and measures them against the baseline;
// `on_final_hidden` may be empty. Plans with the same first cells should be
// neighbours. Cancelled, with a message that says where, if stopped: outcomes
// are then what there is.
absl::Status MeasureOutcomes(const Run& run, const Baseline& baseline,
                             absl::string_view part,
                             absl::Span<const Plan> plans,
                             const FinalHiddenFn& on_final_hidden,
                             std::vector<Outcome>& outcomes);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_EFFECTS_H_
