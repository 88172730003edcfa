#include "explorer/error/budget.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/archive.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effects.h"
#include "explorer/error/kept.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

struct MetricRow {
  BudgetMetric metric;
  absl::string_view name;
};

constexpr MetricRow kMetrics[] = {
    {BudgetMetric::kRelL2, "rel_l2"},
    {BudgetMetric::kLogitsRelL2, "logits_rel_l2"},
    {BudgetMetric::kKl, "kl"},
};

constexpr int kBudgetErrorVersion = 1;  // explorer/error/archived_metrics.h

struct KeptError {
  double error = 0;
};

void Visit(Archive& archive, KeptError& kept) {
  archive.Figure("error", kept.error);
}

// Sums up the errors of the rows that a metric compares: of the stream after
// the last layer, or of the logits.
class Errors : public LockstepObserver {
 public:
  Errors(const Run& run, const Baseline& baseline, BudgetMetric metric,
         size_t num_streams)
      : run_(run),
        baseline_(baseline),
        metric_(metric),
        reference_(OfState() ? baseline.State(baseline.reference,
                                              baseline.num_layers())
                             : baseline.LogitsOf(baseline.reference)),
        sums_(num_streams, 0) {}

  bool Wants(Op op) const override { return !OfState() && op == Op::kLmHead; }

  void OnOutput(absl::Span<const size_t> streams, size_t /*layer*/, Op op,
                size_t first_position, Matrix<const double> rows) override {
    if (Wants(op)) OnRows(streams, first_position, rows);
  }

  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> /*carry*/) override {
    if (OfState() && layer == baseline_.num_layers()) {
      OnRows(streams, 0, stream);
    }
  }

  std::vector<double> Finish() const {
    const bool of_kl = metric_ == BudgetMetric::kKl;
    const double size = of_kl       ? static_cast<double>(reference_.rows)
                        : OfState() ? baseline_.reference.final_squares
                                    : baseline_.reference.logits_squares;
    std::vector<double> errors;
    for (const double sum : sums_) {
      const double ratio = RatioOrZero(sum, size);
      const double error = of_kl ? ratio : std::sqrt(ratio);
      errors.push_back(
          std::isnan(error) ? std::numeric_limits<double>::infinity() : error);
    }
    return errors;
  }

 private:
  bool OfState() const { return metric_ == BudgetMetric::kRelL2; }

  void OnRows(absl::Span<const size_t> streams, size_t first_position,
              Matrix<const double> rows) {
    // Stopped, the run ends as cancelled, and its sums are of no use.
    const double sum = SumOverRows(
        rows, run_.parallel, &run_.monitor,
        [&](size_t r) { return Sum(rows.Row(r), first_position + r); });
    for (const size_t stream : streams) sums_[stream] += sum;
  }

  double Sum(const double* row, size_t position) const {
    const double* const reference = reference_.Row(position);
    if (metric_ == BudgetMetric::kKl) {
      return KlDivergence(row, reference, reference_.cols,
                          baseline_.reference.log_sum_exps[position]);
    }
    return SquaredDistance({row, 1, reference_.cols},
                           {reference, 1, reference_.cols});
  }

  const Run& run_;
  const Baseline& baseline_;
  const BudgetMetric metric_;
  const Matrix<const double> reference_;
  std::vector<double> sums_;  // [streams]
};

}  // namespace

absl::string_view MetricName(BudgetMetric metric) {
  return kMetrics[static_cast<size_t>(metric)].name;
}

std::string BudgetText(const Budget& budget) {
  return absl::StrCat(MetricName(budget.metric), "<=", budget.limit);
}

absl::StatusOr<Budget> ParseBudget(absl::string_view text) {
  const size_t sign = text.find("<=");
  if (sign != absl::string_view::npos) {
    const absl::string_view name =
        absl::StripAsciiWhitespace(text.substr(0, sign));
    Budget budget;
    for (const MetricRow& row : kMetrics) {
      if (row.name != name) continue;
      budget.metric = row.metric;
      if (absl::SimpleAtod(text.substr(sign + 2), &budget.limit) &&
          std::isfinite(budget.limit) && budget.limit > 0) {
        return budget;
      }
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "budget '", text, "': expected METRIC<=X with METRIC one of ",
      absl::StrJoin(kMetrics, ", ",
                    [](std::string* out, const MetricRow& row) {
                      absl::StrAppend(out, row.name);
                    }),
      " and a finite X > 0, such as rel_l2<=1e-3"));
}

Subject BudgetMeter::SubjectOfError(const Plan& plan,
                                    absl::string_view how) const {
  Subject subject =
      SubjectAgainst("budget", run_, baseline_, {{"plan", &plan}});
  subject.version = kBudgetErrorVersion;
  subject.facts.emplace_back("metric", std::string(MetricName(metric_)));
  subject.facts.emplace_back("how", std::string(how));
  return subject;
}

absl::StatusOr<std::vector<double>> BudgetMeter::Measure(
    absl::Span<const Plan> plans, absl::string_view how) {
  std::vector<double> errors(plans.size());
  std::vector<Plan> missing;
  std::vector<size_t> place;  // [missing]
  for (size_t i = 0; i < plans.size(); ++i) {
    KeptError kept;
    const auto any = [](const KeptError&) { return true; };
    if (Recall(run_.kept, SubjectOfError(plans[i], how), kept, any)) {
      errors[i] = kept.error;
    } else {
      place.push_back(i);
      missing.push_back(plans[i]);
    }
  }
  if (!missing.empty()) {
    if (!baseline_.is_run()) return NotKept();
    const auto measured = RunPlans(missing);
    if (!measured.ok()) return measured.status();
    for (size_t i = 0; i < missing.size(); ++i) {
      errors[place[i]] = (*measured)[i];
      Retain(run_.kept, SubjectOfError(missing[i], how),
             KeptError{(*measured)[i]});
    }
  }
  num_streams_ += plans.size();
  ++num_passes_;
  return errors;
}

absl::StatusOr<std::vector<double>> BudgetMeter::RunPlans(
    absl::Span<const Plan> plans) {
  const bool of_state = metric_ == BudgetMetric::kRelL2;
  LockstepOptions options = LockstepOptionsOf(run_, task_, what_);
  options.logits = of_state ? Logits::kNone : Logits::kAll;
  std::vector<Stream> streams;
  for (const Plan& plan : plans) {
    Stream stream = {plan, baseline_.tokens};
    if (of_state) stream.last_layer = baseline_.num_layers();
    streams.push_back(std::move(stream));
  }
  Errors observer(run_, baseline_, metric_, plans.size());
  const absl::Status status =
      RunLockstep(run_.weights, streams, options, observer, run_.parallel);
  if (!status.ok()) return status;
  return observer.Finish();
}

}  // namespace ulpscope
