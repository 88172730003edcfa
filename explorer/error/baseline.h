#ifndef EXPLORER_ERROR_BASELINE_H_
#define EXPLORER_ERROR_BASELINE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/kept.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {

// One run of all positions, as far as it came.
struct RunResults {
  // [0 ... num_layers] of [positions, hidden]; no carry where it is 0.
  std::vector<StreamState> states;
  std::vector<double> logits;  // [positions, vocab], or empty
};

// A run that errors are against, and its sizes, which they are divided by:
// sums of squares, and their roots, the 2-norms.
struct ReferenceRun : RunResults {
  std::vector<double> state_norms;  // [0 ... num_layers]
  double final_squares = 0;         // of the last state
  double logits_squares = 0;        // of all positions' logits
  double logits_norm = 0;
  std::vector<double> log_sum_exps;  // [positions], of the logits
  // [positions]: whether its stream has a massive channel after the embedding
  // or after any layer (massive.h). The others are the ordinary positions.
  std::vector<bool> massive;
  size_t num_ordinary = 0;
  // Over the ordinary positions.
  double ordinary_final_squares = 0, ordinary_logits_squares = 0;
};

// The run of the reference, a plan that errors are against (the oracle, if no
// other is asked for), and that of the plan that is explained: made once, for
// all that is said of the plan.
struct Baseline {
  Plan reference_plan{0};
  Plan plan{0};
  std::vector<int32_t> tokens;
  size_t positions = 0;
  size_t hidden_size = 0;
  size_t vocab_size = 0;
  ReferenceRun reference = {};
  RunResults run = {};  // the plan's
  // The oracle's, which says who is nearer to the truth; empty if it is the
  // reference itself.
  ReferenceRun oracle = {};
  size_t bytes = 0;        // that it takes: others have so much less memory
  std::string stopped_in;  // where the runs were stopped, or empty

  size_t num_layers() const { return plan.num_layers(); }
  // False of BaselineOf, with which only what is kept can be had.
  bool is_run() const { return !reference.states.empty(); }
  bool is_against_oracle() const {
    return reference_plan == Plan::Oracle(num_layers());
  }
  Matrix<const double> State(const RunResults& of, size_t layer) const {
    return {of.states[layer].stream.data(), positions, hidden_size};
  }
  Matrix<const double> LogitsOf(const RunResults& of) const {
    return {of.logits.data(), positions, vocab_size};
  }
};

// Fills the sizes of a run that is in the baseline, and was finished.
void FillSizes(const Baseline& baseline, Parallel& parallel, ReferenceRun& run);

// One that was not run.
Baseline BaselineOf(const Run& run, const Plan& plan, const Plan& reference,
                    absl::Span<const int32_t> tokens);

// SubjectOf of what is measured against the baseline's reference, which is
// "against" in it; the oracle is not named.
Subject SubjectAgainst(
    absl::string_view kind, const Run& run, const Baseline& baseline,
    std::vector<std::pair<absl::string_view, const Plan*>> plans);

// NotFound: something that is not kept takes a baseline that was run.
absl::Status NotKept();

// Runs the reference, the plan, and the oracle unless it is the reference.
// InvalidArgument for tokens that the model does not take, none, or a plan of
// another number of layers. Being stopped is no error: the runs are then there
// as far as they came. `watch`, unless null, sees the runs too: stream 0 is the
// reference's, 1 the plan's, 2 the oracle's.
absl::StatusOr<Baseline> MakeBaseline(const Run& run, const Plan& plan,
                                      const Plan& reference,
                                      absl::Span<const int32_t> tokens,
                                      LockstepObserver* watch = nullptr);

// How far plans are run: to the stream after the last layer, or to the logits
// of all positions.
enum class RunTo { kFinalHidden, kLogits };

// Runs plans in lockstep, with a progress bar. `part` names them all, there and
// in the message of Cancelled, which also says after which layer the run was
// stopped.
absl::Status RunPlans(const Run& run, absl::string_view part,
                      absl::Span<const int32_t> tokens,
                      absl::Span<const Plan> plans, RunTo end,
                      LockstepObserver& observer);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_BASELINE_H_
