#ifndef EXPLORER_ERROR_BUDGET_H_
#define EXPLORER_ERROR_BUDGET_H_

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/baseline.h"
#include "explorer/error/kept.h"
#include "explorer/error/run.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// What a budget limits, against the reference, over all positions.
enum class BudgetMetric {
  kRelL2,        // "rel_l2": of the final hidden state, before the final norm
  kLogitsRelL2,  // "logits_rel_l2": of the logits
  kKl,           // "kl": mean KL(reference || plan), nats
};

struct Budget {
  BudgetMetric metric = BudgetMetric::kRelL2;
  double limit = 0;
};

// Reads "rel_l2<=1e-3". InvalidArgument names the text and what is accepted.
absl::StatusOr<Budget> ParseBudget(absl::string_view text);

absl::string_view MetricName(BudgetMetric metric);  // "rel_l2"
std::string BudgetText(const Budget& budget);       // "rel_l2<=0.001"

// Measures plans by one metric against a baseline's reference, many in one pass
// over the weights.
class BudgetMeter {
 public:
  // What `run` refers to, and the baseline, must outlive the meter; the run's
  // memory is what the baseline leaves. The task and `what` are
  // LockstepOptionsOf's.
  BudgetMeter(const Run& run, const Baseline& baseline, BudgetMetric metric,
              absl::string_view task = "",
              std::function<std::string()> what = nullptr)
      : run_(run),
        baseline_(baseline),
        metric_(metric),
        task_(task),
        what_(std::move(what)) {}

  // Each plan's error, infinite for NaN: it keeps no budget. Those that are
  // kept are not run; NotFound if others are to be, and the baseline was not.
  absl::StatusOr<std::vector<double>> Measure(absl::Span<const Plan> plans) {
    return Measure(plans, "together");
  }
  // The same of one that was measured together with others, by itself.
  absl::StatusOr<std::vector<double>> MeasureAlone(const Plan& plan) {
    return Measure({plan}, "alone");
  }

  // Of the passes that were finished, or are kept, the reference's included.
  size_t num_streams() const { return num_streams_; }
  size_t num_passes() const { return num_passes_; }

 private:
  absl::StatusOr<std::vector<double>> Measure(absl::Span<const Plan> plans,
                                              absl::string_view how);
  Subject SubjectOfError(const Plan& plan, absl::string_view how) const;
  absl::StatusOr<std::vector<double>> RunPlans(absl::Span<const Plan> plans);

  const Run run_;
  const Baseline& baseline_;
  const BudgetMetric metric_;
  const std::string task_;
  const std::function<std::string()> what_;
  size_t num_streams_ = 1, num_passes_ = 1;
};

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_BUDGET_H_
