#ifndef EXPLORER_ATTRIBUTION_LUCK_H_
#define EXPLORER_ATTRIBUTION_LUCK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/attribution/error_sets.h"
#include "explorer/error/baseline.h"
#include "explorer/error/replicates.h"
#include "explorer/error/run.h"

namespace ulpscope {

// What is left of an error by a set's upgrade where roundings fall otherwise.
struct LuckyRun {
  // "bf16_sr1", whose MatMul results are rounded up or down by a draw of that
  // seed where the plan's are rounded to the nearest bf16; or "window 2".
  std::string what;
  double plan_rel_l2 = 0;  // of the final hidden state
  double rel_l2 = 0;       // with the set upgraded
};

// Whether it was the set, or the dice.
struct Luck {
  std::vector<LuckyRun> runs;
  // Of the set's rel_l2 by the plan's, the plan's own run among them; the mean
  // of the logarithms is taken back. None unless all are finite and positive.
  std::optional<double> left;
  // The 95 % interval of that, by Student's t; none of fewer than two runs.
  std::optional<double> left_low, left_high;
  // Whether the interval is below 1: the upgrade lowers the error whatever the
  // dice; none without an interval.
  std::optional<bool> distinguishable;
};

// Runs the plan, and it with the set upgraded, under the seeds of stochastic
// rounding, as far as the plan has MatMuls whose results are bf16, and on other
// windows of the text. Cancelled if stopped.
absl::StatusOr<Luck> TryLuck(const Run& run, const Baseline& baseline,
                             const ErrorSet& set,
                             const std::vector<std::vector<int32_t>>& windows);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_LUCK_H_
