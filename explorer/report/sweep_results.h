#ifndef EXPLORER_REPORT_SWEEP_RESULTS_H_
#define EXPLORER_REPORT_SWEEP_RESULTS_H_

#include "explorer/report/frame.h"
#include "explorer/results/schema.h"
#include "explorer/sweep/sweep.h"

namespace ulpscope {

// Why there is no time of a plan: SweepOptions::timed is false, or the plan is
// not among most_timed.
inline constexpr char kNotAsked[] = "not asked";
inline constexpr char kNotChosen[] = "not chosen";

// "context", "plans" (best first), "evaluations" and "layers" of every plan on
// the token alone and on the prompt, "timings" and "main_effects".
Results SweepResults(const RunInfo& info, const SweepOptions& options,
                     const SweepResult& result);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_SWEEP_RESULTS_H_
