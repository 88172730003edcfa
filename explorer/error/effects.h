#ifndef EXPLORER_ERROR_EFFECTS_H_
#define EXPLORER_ERROR_EFFECTS_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/archive.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effect.h"
#include "explorer/error/kept.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// What a plan's run has come to. What it did not reach is none.
struct Outcome {
  Effect effect;
  // Whether a bit of the final hidden state or of the logits, at any position,
  // differs from the reference's.
  bool changes_bits = false;
  // How far its final hidden state and its logits are from those of the
  // baseline's plan: 2-norms, by the 2-norms of the reference's.
  std::optional<double> moved, logits_moved;
};

inline constexpr int kOutcomeVersion = 2;  // explorer/error/archived_metrics.h
void Visit(Archive& archive, Outcome& outcome);
bool IsWhole(const Outcome& outcome, size_t num_layers);

// Of a plan against this baseline.
Subject SubjectOfOutcome(const Run& run, const Baseline& baseline,
                         const Plan& plan);

// fn of each row, on all threads where that pays for waking them. The monitor
// is asked every few rows of logits, or null; the values are of no use if it
// says so.
std::vector<double> OverRows(Matrix<const double> m, Parallel& parallel,
                             Monitor* monitor,
                             absl::FunctionRef<double(size_t)> fn);

// Their sum. The same bits on any number of threads.
double SumOverRows(Matrix<const double> m, Parallel& parallel, Monitor* monitor,
                   absl::FunctionRef<double(size_t)> fn);

// The baseline's own plan, as far as it came; kept if that is whole. If the
// baseline was not run, what is kept, or NotFound.
absl::StatusOr<Outcome> OutcomeOfPlan(const Run& run, const Baseline& baseline);

// The same of the baseline's plan and of its reference, each against the
// oracle: what OutcomeOfPlan says of it in a baseline that is against that.
absl::StatusOr<Outcome> PlanAgainstOracle(const Run& run,
                                          const Baseline& baseline);
absl::StatusOr<Outcome> ReferenceAgainstOracle(const Run& run,
                                               const Baseline& baseline);

// Sees plans' runs; either may be empty.
struct OutcomeWatch {
  // The final hidden state of some: streams as in LockstepObserver.
  std::function<void(absl::Span<const size_t> plans,
                     Matrix<const double> final_hidden)>
      on_final_hidden;
  // One whose outcome is whole.
  std::function<void(size_t plan, const Outcome&)> on_outcome;
};

// Runs plans in lockstep and measures them against the baseline. Plans with the
// same first cells should be neighbours. Those that are not run to their logits
// have outcomes without them, of which none is whole. Cancelled, with a message
// that says where, if stopped: outcomes are then what there is.
absl::Status MeasureOutcomes(const Run& run, const Baseline& baseline,
                             absl::string_view part,
                             absl::Span<const Plan> plans, RunTo end,
                             const OutcomeWatch& watch,
                             std::vector<Outcome>& outcomes);

// The same, but plans whose outcomes are kept are not run, and the others' are
// kept as soon as they are whole.
absl::Status MeasureKeptOutcomes(const Run& run, const Baseline& baseline,
                                 absl::string_view part,
                                 absl::Span<const Plan> plans,
                                 std::vector<Outcome>& outcomes);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_EFFECTS_H_
