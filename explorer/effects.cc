#include "explorer/effects.h"

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/metrics.h"
#include "explorer/progress.h"
#include "kernels/matrix.h"
#include "kernels/parallel.h"
#include "model/decoder.h"
#include "model/lockstep.h"
#include "model/op.h"
#include "model/plan.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Calls fn for each row, on all threads where that pays for waking them.
void ForRows(Matrix<const double> m, Parallel& parallel,
             absl::FunctionRef<void(size_t)> fn) {
  constexpr size_t kWorthWaking = size_t{1} << 15;
  parallel.For(m.rows,
               m.rows * m.cols < kWorthWaking ? 1 : parallel.num_threads(), fn);
}

double SumOf(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum;
}

double SquaresOf(const double* row, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += row[i] * row[i];
  return sum;
}

double SquaredDistance(const double* a, const double* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

double Norm2(Matrix<const double> m) {
  double sum = 0;
  for (size_t r = 0; r < m.rows; ++r) sum += SquaresOf(m.Row(r), m.cols);
  return std::sqrt(sum);
}

bool SameBits(Matrix<const double> a, Matrix<const double> b) {
  for (size_t r = 0; r < a.rows; ++r) {
    if (std::memcmp(a.Row(r), b.Row(r), a.cols * sizeof(double)) != 0) {
      return false;
    }
  }
  return true;
}

class OracleObserver : public LockstepObserver {
 public:
  OracleObserver(Parallel& parallel, OracleResults& results)
      : parallel_(parallel), results_(results) {}

  bool Wants(Op op) const override { return op == Op::kLmHead; }

  void OnOutput(absl::Span<const size_t>, size_t, Op, size_t,
                Matrix<const double> rows) override {
    results_.logits = Copied(rows);
    results_.logits_norm = Norm2(rows);
    results_.log_sum_exps.resize(rows.rows);
    ForRows(rows, parallel_, [&](size_t r) {
      results_.log_sum_exps[r] = LogSumExp(rows.Row(r), rows.cols);
    });
  }

  void OnState(absl::Span<const size_t>, size_t, Matrix<const double> stream,
               Matrix<const double>) override {
    results_.positions = stream.rows;
    results_.hidden_size = stream.cols;
    results_.states.push_back(Copied(stream));
    results_.state_norms.push_back(Norm2(stream));
  }

 private:
  Parallel& parallel_;
  OracleResults& results_;
};

class OutcomeObserver : public LockstepObserver {
 public:
  OutcomeObserver(const OracleResults& oracle, const StateFn& on_state,
                  Parallel& parallel, std::vector<Outcome>& outcomes)
      : oracle_(oracle),
        on_state_(on_state),
        parallel_(parallel),
        outcomes_(outcomes) {}

  bool Wants(Op op) const override { return op == Op::kLmHead; }

  void OnOutput(absl::Span<const size_t> streams, size_t, Op, size_t,
                Matrix<const double> rows) override {
    const Matrix<const double> reference(oracle_.logits.data(), rows.rows,
                                         rows.cols);
    std::vector<double> squares(rows.rows), kls(rows.rows);
    ForRows(rows, parallel_, [&](size_t r) {
      const double* v = rows.Row(r);
      const double* ref = reference.Row(r);
      squares[r] = SquaredDistance(v, ref, rows.cols);
      kls[r] = squares[r] == 0
                   ? 0
                   : KlDivergence(v, ref, rows.cols, oracle_.log_sum_exps[r]);
    });
    const bool same = SameBits(rows, reference);
    for (const size_t s : streams) {
      Effect& effect = outcomes_[s].effect;
      effect.logits_rel_l2 =
          RatioOrZero(std::sqrt(SumOf(squares)), oracle_.logits_norm);
      effect.kl = SumOf(kls) / static_cast<double>(rows.rows);
      effect.complete = true;
      if (!same) outcomes_[s].changes_bits = true;
    }
  }

  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> carry) override {
    if (on_state_) on_state_(streams, layer, stream, carry);
    const Matrix<const double> reference = oracle_.State(layer);
    std::vector<double> squares(stream.rows);
    ForRows(stream, parallel_, [&](size_t r) {
      squares[r] =
          SquaredDistance(stream.Row(r), reference.Row(r), stream.cols);
    });
    const double rel_l2 =
        RatioOrZero(std::sqrt(SumOf(squares)), oracle_.state_norms[layer]);
    const bool is_final = layer + 1 == oracle_.states.size();
    const bool same = !is_final || SameBits(stream, reference);
    for (const size_t s : streams) {
      Effect& effect = outcomes_[s].effect;
      effect.layers.push_back(rel_l2);
      if (is_final) effect.rel_l2 = rel_l2;
      if (!same) outcomes_[s].changes_bits = true;
    }
  }

 private:
  const OracleResults& oracle_;
  const StateFn& on_state_;
  Parallel& parallel_;
  std::vector<Outcome>& outcomes_;
};

// Passes on what it sees, and remembers how far it came.
class Follower : public LockstepObserver {
 public:
  explicit Follower(LockstepObserver& observer) : observer_(observer) {}

  bool Wants(Op op) const override { return observer_.Wants(op); }

  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override {
    observer_.OnOutput(streams, layer, op, first_position, rows);
  }

  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> carry) override {
    observer_.OnState(streams, layer, stream, carry);
    where_ = layer == 0 ? "after the embedding"
                        : absl::StrCat("after layer ", layer);
  }

  const std::string& where() const { return where_; }

 private:
  LockstepObserver& observer_;
  std::string where_ = "at its start";
};

// Runs the plans with a progress bar.
absl::Status RunPlans(const RunSetting& setting, absl::string_view part,
                      absl::Span<const Plan> plans,
                      LockstepObserver& observer) {
  std::vector<Stream> streams;
  for (const Plan& plan : plans) {
    streams.push_back({plan, setting.options.tokens});
  }
  Follower follower(observer);
  constexpr size_t kPercent = 100;
  Progress progress(absl::StrCat("attribution: ", part), kPercent);
  LockstepOptions options;
  options.logits = Logits::kAll;
  options.memory = setting.options.memory;
  options.stop = setting.options.stop;
  options.progress = [&](size_t done, size_t total) {
    const double share = static_cast<double>(done) / static_cast<double>(total);
    progress.Update(static_cast<size_t>(share * kPercent), follower.where());
  };
  const absl::Status status = RunLockstep(setting.weights, streams, options,
                                          follower, setting.parallel);
  if (absl::IsCancelled(status)) {
    return absl::CancelledError(
        absl::StrCat("the ", part, ", ", follower.where()));
  }
  if (status.ok()) progress.Finish();
  return status;
}

}  // namespace

std::vector<double> Copied(Matrix<const double> m) {
  std::vector<double> values;
  values.reserve(m.rows * m.cols);
  for (size_t r = 0; r < m.rows; ++r) {
    values.insert(values.end(), m.Row(r), m.Row(r) + m.cols);
  }
  return values;
}

absl::StatusOr<OracleResults> RunOracle(const RunSetting& setting) {
  auto plan = Plan::Parse("oracle", setting.weights.layers.size());
  if (!plan.ok()) return plan.status();
  OracleResults results{*std::move(plan)};
  OracleObserver observer(setting.parallel, results);
  const absl::Status status =
      RunPlans(setting, "oracle", {results.plan}, observer);
  if (!status.ok()) return status;
  return results;
}

absl::Status MeasureOutcomes(const RunSetting& setting,
                             const OracleResults& oracle,
                             absl::string_view part,
                             absl::Span<const Plan> plans,
                             const StateFn& on_state,
                             std::vector<Outcome>& outcomes) {
  Outcome unknown;
  unknown.effect.rel_l2 = kNaN;
  unknown.effect.logits_rel_l2 = kNaN;
  unknown.effect.kl = kNaN;
  outcomes.assign(plans.size(), unknown);
  if (plans.empty()) return absl::OkStatus();
  OutcomeObserver observer(oracle, on_state, setting.parallel, outcomes);
  const absl::Status status = RunPlans(setting, part, plans, observer);
  if (!absl::IsCancelled(status)) return status;
  size_t finished = 0;
  for (const Outcome& outcome : outcomes) finished += outcome.effect.complete;
  // Only where the memory made it several passes.
  if (finished == 0) return status;
  return absl::CancelledError(absl::StrCat(status.message(), ", ", finished,
                                           " of ", plans.size(),
                                           " runs finished"));
}

}  // namespace ulpscope
