#ifndef EXPLORER_EFFECTS_H_
#define EXPLORER_EFFECTS_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/attribution.h"
#include "kernels/matrix.h"
#include "kernels/parallel.h"
#include "model/lockstep.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {

// What all runs of an attribution have in common.
struct RunSetting {
  const Weights& weights;
  const AttributionOptions& options;
  Parallel& parallel;
};

// What every error is measured against.
struct OracleResults {
  Plan plan;
  size_t positions = 0;
  size_t hidden_size = 0;
  // The stream, [num_layers + 1] of [positions, hidden], and its 2-norms.
  std::vector<std::vector<double>> states = {};
  std::vector<double> state_norms = {};
  std::vector<double> logits = {};        // [positions, vocab]
  double logits_norm = 0;                 // 2-norm of all of them
  std::vector<double> log_sum_exps = {};  // [positions], of the logits

  Matrix<const double> State(size_t layer) const {
    return {states[layer].data(), positions, hidden_size};
  }
  Matrix<const double> FinalHidden() const { return State(states.size() - 1); }
};

// Runs the oracle. Cancelled, with a message that says where, if stopped.
absl::StatusOr<OracleResults> RunOracle(const RunSetting& setting);

// What a plan's run has come to.
struct Outcome {
  Effect effect;
  // Whether a bit of the final hidden state or of the logits, at any position,
  // differs from the oracle's.
  bool changes_bits = false;
};

// As LockstepObserver::OnState, of streams that are the plans.
using StateFn = std::function<void(absl::Span<const size_t> plans, size_t layer,
                                   Matrix<const double> stream,
                                   Matrix<const double> carry)>;

// Runs plans in lockstep and measures them against the oracle; `on_state` may
// be empty. `part` names them all, on the progress bar and in messages. Ones
// that share their first cells should be neighbours. Cancelled, with a message
// that says where, if stopped: what an outcome lacks is then NaN, and its
// effect has the layers that were reached.
absl::Status MeasureOutcomes(const RunSetting& setting,
                             const OracleResults& oracle,
                             absl::string_view part,
                             absl::Span<const Plan> plans,
                             const StateFn& on_state,
                             std::vector<Outcome>& outcomes);

std::vector<double> Copied(Matrix<const double> m);  // [rows, cols]

// 0 / 0 is 0: no error, relative to nothing.
inline double RatioOrZero(double error, double size) {
  return error == 0 ? 0 : error / size;
}

}  // namespace ulpscope

#endif  // EXPLORER_EFFECTS_H_
