#include "explorer/error/budget.h"

#include <algorithm>
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
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
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

// Hands on the rows that a metric compares: the stream after the last layer, or
// the logits.
class RowsObserver : public LockstepObserver {
 public:
  RowsObserver(BudgetMetric metric, size_t num_layers)
      : of_state_(metric == BudgetMetric::kRelL2), num_layers_(num_layers) {}

  bool Wants(Op op) const override { return !of_state_ && op == Op::kLmHead; }

  void OnOutput(absl::Span<const size_t> streams, size_t /*layer*/, Op op,
                size_t first_position, Matrix<const double> rows) override {
    if (Wants(op)) OnRows(streams, first_position, rows);
  }

  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> /*carry*/) override {
    if (of_state_ && layer == num_layers_) OnRows(streams, 0, stream);
  }

 private:
  virtual void OnRows(absl::Span<const size_t> streams, size_t first_position,
                      Matrix<const double> rows) = 0;

  bool of_state_;
  size_t num_layers_;
};

class Reference : public RowsObserver {
 public:
  Reference(BudgetMetric metric, size_t num_layers, size_t positions,
            std::vector<double>& rows)
      : RowsObserver(metric, num_layers), positions_(positions), rows_(&rows) {}

 private:
  void OnRows(absl::Span<const size_t> /*streams*/, size_t first_position,
              Matrix<const double> rows) override {
    rows_->resize(positions_ * rows.cols);
    for (size_t r = 0; r < rows.rows; ++r) {
      std::copy(rows.Row(r), rows.Row(r) + rows.cols,
                rows_->data() + (first_position + r) * rows.cols);
    }
  }

  size_t positions_;
  std::vector<double>* rows_;
};

class Errors : public RowsObserver {
 public:
  // `norms` are the LogSumExps of the reference's rows, for the KL divergence.
  Errors(BudgetMetric metric, size_t num_layers, Matrix<const double> reference,
         const std::vector<double>& norms, Monitor& monitor, size_t num_streams)
      : RowsObserver(metric, num_layers),
        metric_(metric),
        reference_(reference),
        norms_(norms),
        monitor_(monitor),
        sums_(num_streams, 0) {}

  std::vector<double> Finish() const {
    double size = static_cast<double>(reference_.rows);
    if (metric_ != BudgetMetric::kKl) {
      size = 0;
      for (size_t r = 0; r < reference_.rows; ++r) {
        for (size_t c = 0; c < reference_.cols; ++c) {
          size += reference_.Row(r)[c] * reference_.Row(r)[c];
        }
      }
    }
    std::vector<double> errors;
    for (const double sum : sums_) {
      // 0 / 0 is 0: no error, relative to nothing.
      const double ratio = sum == 0 ? 0 : sum / size;
      const double error =
          metric_ == BudgetMetric::kKl ? ratio : std::sqrt(ratio);
      errors.push_back(
          std::isnan(error) ? std::numeric_limits<double>::infinity() : error);
    }
    return errors;
  }

 private:
  void OnRows(absl::Span<const size_t> streams, size_t first_position,
              Matrix<const double> rows) override {
    double sum = 0;
    constexpr size_t kBlock = 64;  // of logits: a fraction of a second
    for (size_t r = 0; r < rows.rows; ++r) {
      // The run then ends as cancelled, and its sums are of no use.
      if (r > 0 && r % kBlock == 0 && monitor_.stopped()) return;
      sum += Sum(rows.Row(r), first_position + r);
    }
    for (const size_t stream : streams) sums_[stream] += sum;
  }

  double Sum(const double* row, size_t position) const {
    const double* const reference = reference_.Row(position);
    if (metric_ == BudgetMetric::kKl) {
      return KlDivergence(row, reference, reference_.cols, norms_[position]);
    }
    double sum = 0;
    for (size_t i = 0; i < reference_.cols; ++i) {
      sum += (row[i] - reference[i]) * (row[i] - reference[i]);
    }
    return sum;
  }

  BudgetMetric metric_;
  Matrix<const double> reference_;
  const std::vector<double>& norms_;
  Monitor& monitor_;
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

absl::Status BudgetMeter::RunAll(absl::Span<const Plan> plans,
                                 LockstepObserver& observer) {
  const bool of_state = metric_ == BudgetMetric::kRelL2;
  LockstepOptions options = LockstepOptionsOf(run_, task_, what_);
  options.logits = of_state ? Logits::kNone : Logits::kAll;
  std::vector<Stream> streams;
  for (const Plan& plan : plans) {
    Stream stream = {plan, tokens_};
    if (of_state) stream.last_layer = run_.weights.layers.size();
    streams.push_back(std::move(stream));
  }
  const absl::Status status =
      RunLockstep(run_.weights, streams, options, observer, run_.parallel);
  if (!status.ok()) return status;
  num_streams_ += plans.size();
  ++num_passes_;
  return absl::OkStatus();
}

absl::Status BudgetMeter::RunOracle() {
  const auto oracle = Plan::Parse("oracle", run_.weights.layers.size());
  if (!oracle.ok()) return oracle.status();
  Reference observer(metric_, run_.weights.layers.size(), tokens_.size(),
                     reference_);
  const absl::Status status = RunAll({*oracle}, observer);
  if (!status.ok()) return status;
  width_ = reference_.size() / tokens_.size();
  if (metric_ == BudgetMetric::kKl) {
    for (size_t r = 0; r < tokens_.size(); ++r) {
      norms_.push_back(LogSumExp(reference_.data() + r * width_, width_));
    }
  }
  // What is kept here leaves less for the runs.
  run_.memory -= std::min(run_.memory, reference_.size() * sizeof(double));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> BudgetMeter::Measure(
    absl::Span<const Plan> plans) {
  Errors observer(metric_, run_.weights.layers.size(),
                  {reference_.data(), tokens_.size(), width_}, norms_,
                  run_.monitor, plans.size());
  const absl::Status status = RunAll(plans, observer);
  if (!status.ok()) return status;
  return observer.Finish();
}

}  // namespace ulpscope
