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
#include "explorer/error/kept.h"
#include "explorer/error/massive.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/packed.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/norms.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

// Of the runs that are kept: the stream before and after each layer, carries,
// and logits.
size_t BytesOfBaseline(const ModelConfig& config, size_t positions,
                       size_t num_runs) {
  const size_t per_position =
      2 * static_cast<size_t>(config.num_hidden_layers + 1) *
          static_cast<size_t>(config.hidden_size) +
      static_cast<size_t>(config.vocab_size);
  return num_runs * positions * per_position * sizeof(double);
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

// Sums of squares of the rows that are not massive.
double OrdinarySquares(Matrix<const double> rows,
                       const std::vector<bool>& massive) {
  double sum = 0;
  for (size_t r = 0; r < rows.rows; ++r) {
    const Matrix<const double> row = {rows.Row(r), 1, rows.cols};
    if (!massive[r]) sum += Dot(row, row);
  }
  return sum;
}

void SizeStates(ReferenceRun& run) {
  for (const StreamState& state : run.states) {
    run.final_squares = Dot(state.stream, state.stream);
    run.state_norms.push_back(std::sqrt(run.final_squares));
  }
}

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

void FillSizes(const Baseline& baseline, Parallel& parallel,
               ReferenceRun& run) {
  SizeStates(run);
  run.logits_squares = Dot(run.logits, run.logits);
  run.logits_norm = std::sqrt(run.logits_squares);
  run.log_sum_exps.resize(baseline.positions);
  const Matrix<const double> logits = baseline.LogitsOf(run);
  parallel.For(baseline.positions, [&](size_t r) {
    run.log_sum_exps[r] = LogSumExp(logits.Row(r), logits.cols);
  });
  run.massive.resize(baseline.positions);
  for (size_t r = 0; r < baseline.positions; ++r) {
    for (size_t layer = 0; layer < run.states.size(); ++layer) {
      const Matrix<const double> state = baseline.State(run, layer);
      if (IsMassive({state.Row(r), state.cols})) run.massive[r] = true;
    }
    if (!run.massive[r]) ++run.num_ordinary;
  }
  run.ordinary_final_squares =
      OrdinarySquares(baseline.State(run, run.states.size() - 1), run.massive);
  run.ordinary_logits_squares = OrdinarySquares(logits, run.massive);
}

Baseline BaselineOf(const Run& run, const Plan& plan, const Plan& reference,
                    absl::Span<const int32_t> tokens) {
  const ModelConfig& config = run.weights.config;
  Baseline baseline;
  baseline.reference_plan = reference;
  baseline.plan = plan;
  baseline.tokens.assign(tokens.begin(), tokens.end());
  baseline.positions = tokens.size();
  baseline.hidden_size = static_cast<size_t>(config.hidden_size);
  baseline.vocab_size = static_cast<size_t>(config.vocab_size);
  baseline.bytes = BytesOfBaseline(config, tokens.size(),
                                   baseline.is_against_oracle() ? 2 : 3);
  return baseline;
}

Subject SubjectAgainst(
    absl::string_view kind, const Run& run, const Baseline& baseline,
    std::vector<std::pair<absl::string_view, const Plan*>> plans) {
  if (!baseline.is_against_oracle()) {
    plans.emplace_back("against", &baseline.reference_plan);
  }
  return SubjectOf(kind, run, baseline.tokens, plans);
}

absl::Status NotKept() {
  return absl::NotFoundError("the baseline was not run");
}

absl::StatusOr<Baseline> MakeBaseline(const Run& run, const Plan& plan,
                                      const Plan& reference,
                                      absl::Span<const int32_t> tokens,
                                      LockstepObserver* watch) {
  for (const Plan* of : {&plan, &reference}) {
    if (of->num_layers() == run.weights.layers.size()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a plan of ", of->num_layers(), " layers for a model of ",
                     run.weights.layers.size()));
  }
  Baseline baseline = BaselineOf(run, plan, reference, tokens);
  std::vector<Plan> plans = {reference, plan};
  std::vector<RunResults*> results = {&baseline.reference, &baseline.run};
  std::vector<ReferenceRun*> references = {&baseline.reference};
  if (!baseline.is_against_oracle()) {
    plans.push_back(Plan::Oracle(plan.num_layers()));
    results.push_back(&baseline.oracle);
    references.push_back(&baseline.oracle);
  }
  Recorder recorder(std::move(results), watch);
  const absl::Status status =
      RunPlans(run.Without(baseline.bytes),
               baseline.is_against_oracle() ? "oracle and the plan"
                                            : "two plans and the oracle",
               tokens, plans, RunTo::kLogits, recorder);
  if (!status.ok() && !absl::IsCancelled(status)) return status;
  if (!status.ok()) baseline.stopped_in = std::string(status.message());
  for (ReferenceRun* of : references) {
    if (status.ok()) {
      FillSizes(baseline, run.parallel, *of);
    } else {
      SizeStates(*of);
    }
  }
  return baseline;
}

absl::Status RunPlans(const Run& run, absl::string_view part,
                      absl::Span<const int32_t> tokens,
                      absl::Span<const Plan> plans, RunTo end,
                      LockstepObserver& observer) {
  std::vector<Stream> streams;
  for (const Plan& plan : plans) {
    streams.push_back({plan, tokens});
    if (end == RunTo::kFinalHidden) {
      streams.back().last_layer = plan.num_layers();
    }
  }
  Follower follower(observer);
  const std::string task = absl::StrCat("attribution: ", part);
  LockstepOptions options =
      LockstepOptionsOf(run, task, [&] { return follower.where(); });
  options.logits = end == RunTo::kLogits ? Logits::kAll : Logits::kNone;
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
