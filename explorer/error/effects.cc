#include "explorer/error/effects.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/archive.h"
#include "explorer/error/archived_metrics.h"
#include "explorer/error/kept.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "explorer/error/token_errors.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

bool SameBits(Matrix<const double> a, Matrix<const double> b) {
  for (size_t r = 0; r < a.rows; ++r) {
    if (std::memcmp(a.Row(r), b.Row(r), a.cols * sizeof(double)) != 0) {
      return false;
    }
  }
  return true;
}

// KlDivergence, and its bits, where the reference's probabilities are known:
// exp(reference[i] - reference_norm).
double KlOf(const double* value, const double* reference,
            const double* reference_probabilities, size_t n,
            double reference_norm) {
  const double value_norm = LogSumExp(value, n);
  double kl = 0;
  for (size_t i = 0; i < n; ++i) {
    const double log_p = reference[i] - reference_norm;
    kl += reference_probabilities[i] * (log_p - (value[i] - value_norm));
  }
  return kl < 0 ? 0 : kl;
}

// Measures runs against a reference, and how far they are from a plan's run.
class OutcomeObserver : public LockstepObserver {
 public:
  OutcomeObserver(const Baseline& baseline, const ReferenceRun& reference,
                  const RunResults& plan, const OutcomeWatch& watch,
                  Monitor* monitor, Parallel& parallel,
                  std::vector<Outcome>& outcomes)
      : baseline_(baseline),
        reference_(reference),
        plan_(plan),
        watch_(watch),
        monitor_(monitor),
        parallel_(parallel),
        outcomes_(outcomes) {}

  bool Wants(Op op) const override { return op == Op::kLmHead; }

  void OnOutput(absl::Span<const size_t> streams, size_t, Op, size_t,
                Matrix<const double> rows) override {
    const Matrix<const double> reference = baseline_.LogitsOf(reference_);
    const double norm = reference_.logits_norm;
    const Sums squares = SquaredDistances(rows, reference, monitor_);
    const double moved = RatioOrZero(
        std::sqrt(
            SquaredDistances(rows, baseline_.LogitsOf(plan_), monitor_).all),
        norm);
    FillProbabilities(reference);
    const Sums kl = Sum(OverRows(rows, parallel_, monitor_, [&](size_t r) {
      const double of_row = reference_.log_sum_exps[r];
      if (probabilities_.empty()) {
        return KlDivergence(rows.Row(r), reference.Row(r), rows.cols, of_row);
      }
      return KlOf(rows.Row(r), reference.Row(r), &probabilities_[r * rows.cols],
                  rows.cols, of_row);
    }));
    const bool same = SameBits(rows, reference);
    if (monitor_ != nullptr && monitor_->stopped())
      return;  // some of this is perhaps not finished
    for (const size_t s : streams) {
      Outcome& outcome = outcomes_[s];
      Effect& effect = outcome.effect;
      effect.logits_rel_l2 = RatioOrZero(std::sqrt(squares.all), norm);
      effect.kl = kl.all / static_cast<double>(rows.rows);
      effect.ordinary_logits_rel_l2 = OfOrdinary(*effect.logits_rel_l2, [&] {
        return RatioOrZero(std::sqrt(squares.ordinary),
                           std::sqrt(reference_.ordinary_logits_squares));
      });
      effect.ordinary_kl = OfOrdinary(*effect.kl, [&] {
        return kl.ordinary / static_cast<double>(reference_.num_ordinary);
      });
      outcome.logits_moved = moved;
      if (!same) outcome.changes_bits = true;
      if (watch_.on_outcome) watch_.on_outcome(s, outcome);
    }
  }

  void OnState(absl::Span<const size_t> streams, size_t layer,
               Matrix<const double> stream, Matrix<const double>) override {
    const Matrix<const double> reference = baseline_.State(reference_, layer);
    const double norm = reference_.state_norms[layer];
    const Sums squares = SquaredDistances(stream, reference, nullptr);
    const double rel_l2 = RatioOrZero(std::sqrt(squares.all), norm);
    for (const size_t s : streams) {
      outcomes_[s].effect.layers.push_back(rel_l2);
    }
    if (layer < baseline_.num_layers()) return;
    if (watch_.on_final_hidden) watch_.on_final_hidden(streams, stream);
    const double moved = RatioOrZero(
        std::sqrt(
            SquaredDistances(stream, baseline_.State(plan_, layer), nullptr)
                .all),
        norm);
    const bool same = SameBits(stream, reference);
    for (const size_t s : streams) {
      Effect& effect = outcomes_[s].effect;
      effect.rel_l2 = rel_l2;
      effect.ordinary_rel_l2 = OfOrdinary(rel_l2, [&] {
        return RatioOrZero(std::sqrt(squares.ordinary),
                           std::sqrt(reference_.ordinary_final_squares));
      });
      outcomes_[s].moved = moved;
      if (!same) outcomes_[s].changes_bits = true;
    }
  }

 private:
  // Over all rows, and over those of ordinary positions.
  struct Sums {
    double all = 0, ordinary = 0;
  };

  Sums Sum(const std::vector<double>& rows) const {
    Sums sums;
    for (size_t r = 0; r < rows.size(); ++r) {
      sums.all += rows[r];
      // Of a run that was stopped it is not known.
      if (!reference_.massive.empty() && !reference_.massive[r]) {
        sums.ordinary += rows[r];
      }
    }
    return sums;
  }

  // A figure over the ordinary positions; that of all if all are.
  std::optional<double> OfOrdinary(double of_all,
                                   absl::FunctionRef<double()> figure) const {
    if (reference_.num_ordinary == 0) return std::nullopt;
    if (reference_.num_ordinary == baseline_.positions) return of_all;
    return figure();
  }

  // Of the reference, once for all runs: half of what KL takes. Not of long
  // prompts, whose memory counts.
  void FillProbabilities(Matrix<const double> reference) {
    constexpr size_t kMost = size_t{1} << 24;
    if (!probabilities_.empty() || reference.rows * reference.cols > kMost) {
      return;
    }
    probabilities_.resize(reference.rows * reference.cols);
    parallel_.For(reference.rows, [&](size_t r) {
      for (size_t i = 0; i < reference.cols; ++i) {
        probabilities_[r * reference.cols + i] =
            std::exp(reference.Row(r)[i] - reference_.log_sum_exps[r]);
      }
    });
  }

  // Squares of the rows of a - b.
  Sums SquaredDistances(Matrix<const double> a, Matrix<const double> b,
                        Monitor* monitor) {
    return Sum(OverRows(a, parallel_, monitor, [&](size_t r) {
      return SquaredDistance({a.Row(r), 1, a.cols}, {b.Row(r), 1, a.cols});
    }));
  }

  const Baseline& baseline_;
  const ReferenceRun& reference_;
  const RunResults& plan_;
  const OutcomeWatch watch_;
  Monitor* const monitor_;
  Parallel& parallel_;
  std::vector<Outcome>& outcomes_;
  std::vector<double> probabilities_;  // [positions, vocab], or empty
};

bool IsOver(const Baseline& baseline) {
  return baseline.is_run() || !baseline.stopped_in.empty();
}

// Of a run that is in the baseline, against another that is in it; of a stopped
// one too: that is what it is for.
absl::StatusOr<Outcome> OutcomeOf(const Run& run, const Baseline& baseline,
                                  const RunResults& of,
                                  const ReferenceRun& reference,
                                  const Subject& subject) {
  const auto is_whole = [&](const Outcome& outcome) {
    return IsWhole(outcome, baseline.num_layers());
  };
  std::vector<Outcome> outcomes(1);
  if (!IsOver(baseline)) {
    if (Recall(run.kept, subject, outcomes[0], is_whole)) return outcomes[0];
    return NotKept();
  }
  OutcomeObserver observer(baseline, reference, of, {}, nullptr, run.parallel,
                           outcomes);
  for (size_t layer = 0; layer < of.states.size(); ++layer) {
    // A stopped run has perhaps no reference there.
    if (layer == reference.states.size()) break;
    observer.OnState({0}, layer, baseline.State(of, layer), {});
  }
  if (!of.logits.empty() && !reference.log_sum_exps.empty()) {
    observer.OnOutput({0}, 0, Op::kLmHead, 0, baseline.LogitsOf(of));
  }
  if (is_whole(outcomes[0])) Retain(run.kept, subject, outcomes[0]);
  return outcomes[0];
}

// Of a plan against the oracle, in a baseline whose plan it is.
Subject SubjectOfTruth(const Run& run, const Baseline& baseline,
                       const Plan& plan) {
  Subject subject = SubjectOf("outcome", run, baseline.tokens,
                              {{"plan", &plan}, {"of", &plan}});
  subject.version = kOutcomeVersion;
  return subject;
}

}  // namespace

std::vector<double> OverRows(Matrix<const double> m, Parallel& parallel,
                             Monitor* monitor,
                             absl::FunctionRef<double(size_t)> fn) {
  constexpr size_t kWorthWaking = size_t{1} << 15;
  constexpr size_t kBlock = 64;  // a fraction of a second
  std::vector<double> values(m.rows);
  for (size_t first = 0; first < m.rows; first += kBlock) {
    if (first > 0 && monitor != nullptr && monitor->stopped()) break;
    const size_t rows = std::min(kBlock, m.rows - first);
    parallel.For(rows,
                 rows * m.cols < kWorthWaking ? 1 : parallel.num_threads(),
                 [&](size_t r) { values[first + r] = fn(first + r); });
  }
  return values;
}

double SumOverRows(Matrix<const double> m, Parallel& parallel, Monitor* monitor,
                   absl::FunctionRef<double(size_t)> fn) {
  double sum = 0;
  for (const double v : OverRows(m, parallel, monitor, fn)) sum += v;
  return sum;
}

void Visit(Archive& archive, Outcome& outcome) {
  VisitPart(archive, "effect", outcome.effect);
  archive.Figure("changes_bits", outcome.changes_bits);
  archive.Figure("moved", outcome.moved);
  archive.Figure("logits_moved", outcome.logits_moved);
}

bool IsWhole(const Outcome& outcome, size_t num_layers) {
  return IsWhole(outcome.effect, num_layers) && outcome.moved.has_value() &&
         outcome.logits_moved.has_value();
}

Subject SubjectOfOutcome(const Run& run, const Baseline& baseline,
                         const Plan& plan) {
  Subject subject = SubjectAgainst("outcome", run, baseline,
                                   {{"plan", &plan}, {"of", &baseline.plan}});
  subject.version = kOutcomeVersion;
  return subject;
}

absl::StatusOr<Outcome> OutcomeOfPlan(const Run& run,
                                      const Baseline& baseline) {
  return OutcomeOf(run, baseline, baseline.run, baseline.reference,
                   SubjectOfOutcome(run, baseline, baseline.plan));
}

absl::StatusOr<Outcome> PlanAgainstOracle(const Run& run,
                                          const Baseline& baseline) {
  return OutcomeOf(run, baseline, baseline.run, baseline.oracle,
                   SubjectOfTruth(run, baseline, baseline.plan));
}

absl::StatusOr<Outcome> ReferenceAgainstOracle(const Run& run,
                                               const Baseline& baseline) {
  return OutcomeOf(run, baseline, baseline.reference, baseline.oracle,
                   SubjectOfTruth(run, baseline, baseline.reference_plan));
}

absl::Status MeasureOutcomes(const Run& run, const Baseline& baseline,
                             absl::string_view part,
                             absl::Span<const Plan> plans, RunTo end,
                             const OutcomeWatch& watch,
                             std::vector<Outcome>& outcomes) {
  outcomes.assign(plans.size(), Outcome());
  if (plans.empty()) return absl::OkStatus();
  OutcomeObserver observer(baseline, baseline.reference, baseline.run, watch,
                           &run.monitor, run.parallel, outcomes);
  const absl::Status status =
      RunPlans(run, part, baseline.tokens, plans, end, observer);
  if (!absl::IsCancelled(status)) return status;
  size_t finished = 0;
  for (const Outcome& outcome : outcomes) {
    const Effect& effect = outcome.effect;
    if (end == RunTo::kLogits ? effect.complete() : effect.rel_l2.has_value()) {
      ++finished;
    }
  }
  // Only where memory made it several passes.
  if (finished == 0) return status;
  return absl::CancelledError(absl::StrCat(status.message(), ", ", finished,
                                           " of ", plans.size(),
                                           " runs finished"));
}

absl::Status MeasureKeptOutcomes(const Run& run, const Baseline& baseline,
                                 absl::string_view part,
                                 absl::Span<const Plan> plans,
                                 std::vector<Outcome>& outcomes) {
  outcomes.assign(plans.size(), Outcome());
  std::vector<Plan> missing;
  std::vector<size_t> place;  // [missing]
  std::vector<Subject> subjects;
  for (size_t i = 0; i < plans.size(); ++i) {
    Subject subject = SubjectOfOutcome(run, baseline, plans[i]);
    const auto is_whole = [&](const Outcome& outcome) {
      return IsWhole(outcome, baseline.num_layers());
    };
    if (Recall(run.kept, subject, outcomes[i], is_whole)) continue;
    missing.push_back(plans[i]);
    place.push_back(i);
    subjects.push_back(std::move(subject));
  }
  if (missing.empty()) return absl::OkStatus();
  if (!baseline.is_run()) return NotKept();
  OutcomeWatch watch;
  watch.on_outcome = [&](size_t plan, const Outcome& outcome) {
    Retain(run.kept, subjects[plan], outcome);
  };
  std::vector<Outcome> measured;
  const absl::Status status = MeasureOutcomes(run, baseline, part, missing,
                                              RunTo::kLogits, watch, measured);
  for (size_t i = 0; i < measured.size(); ++i) {
    outcomes[place[i]] = std::move(measured[i]);
  }
  return status;
}

}  // namespace ulpscope
