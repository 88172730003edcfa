#ifndef EXPLORER_SWEEP_SWEEP_H_
#define EXPLORER_SWEEP_SWEEP_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "explorer/error/windows.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep_errors.h"
#include "model/architecture/plan.h"

namespace ulpscope {

struct SweepOptions {
  std::vector<Axis> axes;          // of a factorial, or
  std::vector<std::string> plans;  // these plans, if axes is empty
  int32_t token = 0;               // alone at position 0
  std::vector<int32_t> prompt;     // that is timed
  std::vector<Window> windows;     // errors are of; empty: of the prompt
  std::optional<Plan> against;     // what errors are against; else the oracle
  size_t greedy = 0;               // tokens that are generated after the prompt
  const RankMetric* metric = nullptr;
  size_t most_timed = SIZE_MAX;  // plans that are timed
  size_t max_rounds = 5;         // of timing; at least 2 are made
  double timing_seconds = 60;    // no further round starts after that
  size_t decode_steps = 3;       // per round
  bool timed = true;             // else errors are all that is measured
};

struct SweepResult {
  std::vector<PlanResult> plans;    // best first
  std::vector<MainEffect> effects;  // none unless all plans are measured
  // Of the plan that errors are against, on all windows, against the oracle;
  // none if it is the oracle, or was not measured.
  std::optional<TraceMetrics> against_oracle;
  std::vector<int32_t> greedy;  // tokens that were generated
  // "while measuring errors, after layer 7 of 24", if the sweep was stopped.
  std::string stopped_in;
  // Why it ended before all rounds of timing, unless it was stopped.
  absl::Status failed;
};

// The plans that RunSweep measures.
absl::StatusOr<std::vector<Plan>> PlansOf(const SweepOptions& options,
                                          size_t num_layers);

// The errors that RunSweep measures, from which processes that divide them take
// theirs. InvalidArgument for a plan that is none.
absl::StatusOr<SweepErrors> ErrorsOf(const SweepOptions& options,
                                     size_t num_layers);

// What errors on the prompt are over.
std::vector<Window> WindowsOf(const SweepOptions& options);

// Sets the scores and rates of plans from their errors and times.
void ScorePlans(const SweepOptions& options, std::vector<PlanResult>& plans);

// Measures every plan's errors, in lockstep, then times plans that are not
// emulated in interleaved rounds, unless the options say otherwise: all, or
// where these are more than `most_timed` half as many of the smallest errors,
// and for the other half plans at equal distances on the way from there to the
// largest error. If it is stopped the result has what was measured until then,
// and no plan is timed whose errors were not all measured. `on_measured` is
// given the result before the timing, so that what happens to the program then
// takes no error away.
absl::StatusOr<SweepResult> RunSweep(
    const Run& run, const SweepOptions& options,
    absl::FunctionRef<void(const SweepResult&)> on_measured =
        [](const SweepResult&) {});

// Of the plans that have a score, the one that a sweep with these options would
// rank last, without timing any. Cancelled if stopped.
absl::StatusOr<Plan> WorstPlan(const Run& run, const SweepOptions& options);

}  // namespace ulpscope

#endif  // EXPLORER_SWEEP_SWEEP_H_
