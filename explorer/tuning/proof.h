#ifndef EXPLORER_TUNING_PROOF_H_
#define EXPLORER_TUNING_PROOF_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "explorer/tuning/tune.h"
#include "kernels/ops/tuning.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// A phase of a plan on the loaded model, with the tunings and without.
struct Proof {
  std::string plan;  // canonical text
  Phase phase = Phase::kPrefill;
  // In the order of time; those of one index are neighbours in it.
  std::vector<double> tuned_seconds, default_seconds;
  // Tokens per second; none without times.
  std::optional<Spread> tuned_rate, default_rate;
  std::optional<Spread> speedup;  // default by tuned, pair by pair
  // Whether the tunings gain more than the noise (IsFaster); none if the proof
  // was stopped.
  std::optional<bool> gains;
};

struct ProofOptions {
  std::vector<Plan> plans;  // those that MatMulsOf was asked for
  std::vector<int32_t> prompt;
  size_t decode_steps = 3;  // per round
  // No further round starts after that, but for the first kLeastProofRounds.
  double seconds = 15;
  size_t max_rounds = 40;
};

inline constexpr size_t kLeastProofRounds = 5;

// One run of a plan with these tunings; TimePlan, but for tests.
using TimeTuned = std::function<absl::Status(
    const Plan& plan, const Tunings& tunings, TimedRun& timed)>;

// The plans, by index, of which no earlier one runs the very same MatMuls in
// both phases: what tunings do to one of these they do to the others.
std::vector<size_t> DistinctPlans(const std::vector<TunableMatMul>& matmuls,
                                  size_t num_plans);

// Runs each of these plans that a tuned MatMul serves in turn with `tunings`
// and with none, in rounds over all of them, as a tuning that gains in its
// region alone need not gain in the model. What was tuned, is not the default
// and serves no phase that gains is then no longer `kept`. `proofs` get what
// was timed, whatever ends it; Cancelled if stopped, and then all stay kept.
absl::Status ProveTunings(const ProofOptions& options,
                          const std::vector<size_t>& plans,
                          const Tunings& tunings, const TimeTuned& time,
                          Monitor& monitor, std::vector<TunedMatMul>& tuned,
                          std::vector<Proof>& proofs);

}  // namespace ulpscope

#endif  // EXPLORER_TUNING_PROOF_H_
