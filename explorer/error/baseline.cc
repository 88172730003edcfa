#include "explorer/error/baseline.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

double Norm2(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v * v;
  return std::sqrt(sum);
}

// Copies what runs leave behind, [streams].
class Recorder : public LockstepObserver {
 public:
  explicit Recorder(std::vector<RunResults*> results)
      : results_(std::move(results)) {}

  bool Wants(Op op) const override { return op == Op::kLmHead; }

  void OnOutput(absl::Span<const size_t> streams, size_t, Op, size_t,
                Matrix<const double> rows) override {
    for (const size_t s : streams) results_[s]->logits = Copied(rows);
  }

  void OnState(absl::Span<const size_t> streams, size_t,
               Matrix<const double> stream,
               Matrix<const double> carry) override {
    StreamState state = {Copied(stream), Copied(carry)};
    const auto is_zero = [](double x) { return x == 0; };
    if (std::all_of(state.carry.begin(), state.carry.end(), is_zero)) {
      state.carry = std::vector<double>();
    }
    for (const size_t s : streams) results_[s]->states.push_back(state);
  }

 private:
  std::vector<RunResults*> results_;
};

// Passes on what it sees, and remembers how far that came.
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

Plan OraclePlan(size_t num_layers) {
  // A preset is fixed text: it applies to any number of layers.
  return *Plan::Parse("oracle", num_layers);
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

Baseline::Baseline(const Run& setting, const Plan& plan_in,
                   absl::Span<const int32_t> tokens_in)
    : oracle_plan(OraclePlan(plan_in.num_layers())),
      plan(plan_in),
      tokens(tokens_in),
      positions(tokens.size()),
      hidden_size(static_cast<size_t>(setting.weights.config.hidden_size)),
      vocab_size(static_cast<size_t>(setting.weights.config.vocab_size)) {}

absl::Status RunBaseline(const Run& run, Baseline& baseline) {
  Recorder recorder({&baseline.oracle, &baseline.run});
  const absl::Status status =
      RunPlans(run, "oracle and the plan", baseline.tokens,
               {baseline.oracle_plan, baseline.plan}, recorder);
  for (const StreamState& state : baseline.oracle.states) {
    baseline.state_norms.push_back(Norm2(state.stream));
  }
  if (!status.ok()) return status;
  baseline.logits_norm = Norm2(baseline.oracle.logits);
  baseline.log_sum_exps.resize(baseline.positions);
  const Matrix<const double> logits = baseline.LogitsOf(baseline.oracle);
  run.parallel.For(baseline.positions, [&](size_t r) {
    baseline.log_sum_exps[r] = LogSumExp(logits.Row(r), logits.cols);
  });
  return status;
}

absl::Status RunPlans(const Run& run, absl::string_view part,
                      absl::Span<const int32_t> tokens,
                      absl::Span<const Plan> plans,
                      LockstepObserver& observer) {
  std::vector<Stream> streams;
  for (const Plan& plan : plans) {
    streams.push_back({plan, tokens});
  }
  Follower follower(observer);
  const std::string task = absl::StrCat("attribution: ", part);
  LockstepOptions options =
      LockstepOptionsOf(run, task, [&] { return follower.where(); });
  options.logits = Logits::kAll;
  const absl::Status status =
      RunLockstep(run.weights, streams, options, follower, run.parallel);
  if (absl::IsCancelled(status)) {
    return absl::CancelledError(
        absl::StrCat("the ", part, ", ", follower.where()));
  }
  if (status.ok()) run.monitor.OnProgress(task, 1, 1, "");
  return status;
}

}  // namespace ulpscope
