#include "explorer/error/baseline.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/packed.h"
#include "kernels/measure/norms.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

// Of the oracle's and the plan's run, which are kept: the stream before and
// after each layer, carries, and logits.
size_t BytesOfBaseline(const ModelConfig& config, size_t positions) {
  const size_t per_position =
      2 * static_cast<size_t>(config.num_hidden_layers + 1) *
          static_cast<size_t>(config.hidden_size) +
      static_cast<size_t>(config.vocab_size);
  return 2 * positions * per_position * sizeof(double);
}

// Copies what runs leave behind, [streams], and passes on what it sees.
class Recorder : public LockstepObserver {
 public:
  Recorder(std::vector<RunResults*> results, LockstepObserver* watch)
      : results_(std::move(results)), watch_(watch) {}

  bool Wants(Op op) const override {
    return op == Op::kLmHead || (watch_ != nullptr && watch_->Wants(op));
  }

  void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                size_t first_position, Matrix<const double> rows) override {
    if (watch_ != nullptr && watch_->Wants(op)) {
      watch_->OnOutput(streams, layer, op, first_position, rows);
    }
    if (op != Op::kLmHead) return;
    for (const size_t s : streams) results_[s]->logits = Packed(rows);
  }

  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream,
               Matrix<const double> carry) override {
    if (watch_ != nullptr) watch_->OnState(streams, layer, stream, carry);
    StreamState state = {Packed(stream), Packed(carry)};
    const auto is_zero = [](double x) { return x == 0; };
    if (absl::c_all_of(state.carry, is_zero)) {
      state.carry = std::vector<double>();
    }
    for (const size_t s : streams) results_[s]->states.push_back(state);
  }

 private:
  std::vector<RunResults*> results_;
  LockstepObserver* const watch_;
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

}  // namespace

Baseline BaselineOf(const Run& run, const Plan& plan,
                    absl::Span<const int32_t> tokens) {
  const ModelConfig& config = run.weights.config;
  Baseline baseline;
  baseline.oracle_plan = Plan::Oracle(plan.num_layers());
  baseline.plan = plan;
  baseline.tokens.assign(tokens.begin(), tokens.end());
  baseline.positions = tokens.size();
  baseline.hidden_size = static_cast<size_t>(config.hidden_size);
  baseline.vocab_size = static_cast<size_t>(config.vocab_size);
  baseline.bytes = BytesOfBaseline(config, tokens.size());
  return baseline;
}

absl::Status NotKept() {
  return absl::NotFoundError("the baseline was not run");
}

absl::StatusOr<Baseline> MakeBaseline(const Run& run, const Plan& plan,
                                      absl::Span<const int32_t> tokens,
                                      LockstepObserver* watch) {
  if (plan.num_layers() != run.weights.layers.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a plan of ", plan.num_layers(), " layers for a model of ",
                     run.weights.layers.size()));
  }
  Baseline baseline = BaselineOf(run, plan, tokens);
  Recorder recorder({&baseline.oracle, &baseline.run}, watch);
  const absl::Status status =
      RunPlans(run.Without(baseline.bytes), "oracle and the plan", tokens,
               {baseline.oracle_plan, plan}, recorder);
  for (const StreamState& state : baseline.oracle.states) {
    baseline.final_squares = Dot(state.stream, state.stream);
    baseline.state_norms.push_back(std::sqrt(baseline.final_squares));
  }
  if (absl::IsCancelled(status)) {
    baseline.stopped_in = std::string(status.message());
    return baseline;
  }
  if (!status.ok()) return status;
  baseline.logits_squares = Dot(baseline.oracle.logits, baseline.oracle.logits);
  baseline.logits_norm = std::sqrt(baseline.logits_squares);
  baseline.log_sum_exps.resize(baseline.positions);
  const Matrix<const double> logits = baseline.LogitsOf(baseline.oracle);
  run.parallel.For(baseline.positions, [&](size_t r) {
    baseline.log_sum_exps[r] = LogSumExp(logits.Row(r), logits.cols);
  });
  return baseline;
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
