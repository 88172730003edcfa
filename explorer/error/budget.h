#ifndef EXPLORER_ERROR_BUDGET_H_
#define EXPLORER_ERROR_BUDGET_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/run.h"
#include "model/architecture/plan.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {

// What a budget limits, against the oracle, over all positions.
enum class BudgetMetric {
  kRelL2,        // "rel_l2": of the final hidden state, before the final norm
  kLogitsRelL2,  // "logits_rel_l2": of the logits
  kKl,           // "kl": mean KL(oracle || plan), nats
};

struct Budget {
  BudgetMetric metric = BudgetMetric::kRelL2;
  double limit = 0;
};

// Reads "rel_l2<=1e-3". InvalidArgument names the text and what is accepted.
absl::StatusOr<Budget> ParseBudget(absl::string_view text);

absl::string_view MetricName(BudgetMetric metric);  // "rel_l2"
std::string BudgetText(const Budget& budget);       // "rel_l2<=0.001"

// Measures plans by one metric, many in one pass over the weights.
class BudgetMeter {
 public:
  // What `run` refers to must outlive the meter. The task and `what` are
  // LockstepOptionsOf's.
  BudgetMeter(const Run& run, BudgetMetric metric, std::vector<int32_t> tokens,
              absl::string_view task = "",
              std::function<std::string()> what = nullptr)
      : run_(run),
        metric_(metric),
        tokens_(std::move(tokens)),
        task_(task),
        what_(std::move(what)) {}

  // Runs the oracle. To be called once, before the rest.
  absl::Status RunOracle();

  // Each plan's error, infinite for NaN: it keeps no budget.
  absl::StatusOr<std::vector<double>> Measure(absl::Span<const Plan> plans);

  // Of the passes that were finished.
  size_t num_streams() const { return num_streams_; }
  size_t num_passes() const { return num_passes_; }

 private:
  absl::Status RunAll(absl::Span<const Plan> plans, LockstepObserver& observer);

  Run run_;
  BudgetMetric metric_;
  std::vector<int32_t> tokens_;
  std::string task_;
  std::function<std::string()> what_;
  // The oracle's final hidden state or logits, a row per position; of logits,
  // for the KL divergence, their LogSumExps.
  std::vector<double> reference_;
  std::vector<double> norms_;
  size_t width_ = 0;
  size_t num_streams_ = 0, num_passes_ = 0;
};

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_BUDGET_H_
