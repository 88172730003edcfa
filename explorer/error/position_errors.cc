#include "explorer/error/position_errors.h"

#include <cmath>
#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "explorer/error/archive.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effects.h"
#include "explorer/error/kept.h"
#include "explorer/error/metrics.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"

namespace ulpscope {
namespace {

// Of each row of a - b.
std::vector<double> SquaredDistances(Matrix<const double> a,
                                     Matrix<const double> b, const Run& run) {
  return OverRows(a, run.parallel, nullptr, [&](size_t r) {
    return SquaredDistance({a.Row(r), 1, a.cols}, {b.Row(r), 1, a.cols});
  });
}

double SumOf(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum;
}

}  // namespace

void Visit(Archive& a, PositionError& e) {
  a.Figure("massive", e.massive);
  a.Figure("squared_share", e.squared_share);
  a.Figure("rel_l2", e.rel_l2);
  a.Figure("logits_squared_share", e.logits_squared_share);
  a.Figure("kl", e.kl);
}

void Visit(Archive& a, PositionErrors& errors) {
  VisitList(a, "of", errors.of);
}

absl::StatusOr<PositionErrors> ErrorsByPosition(const Run& run,
                                                const Baseline& baseline) {
  Subject subject =
      SubjectAgainst("positions", run, baseline, {{"plan", &baseline.plan}});
  subject.version = kPositionErrorsVersion;
  PositionErrors errors;
  if (!baseline.is_run()) {
    const auto is_whole = [&](const PositionErrors& kept) {
      return kept.of.size() == baseline.positions;
    };
    if (Recall(run.kept, subject, errors, is_whole)) return errors;
    return NotKept();
  }
  const ReferenceRun& reference = baseline.reference;
  const size_t last = baseline.num_layers();
  const Matrix<const double> final = baseline.State(reference, last);
  const Matrix<const double> logits = baseline.LogitsOf(baseline.run);
  const Matrix<const double> reference_logits = baseline.LogitsOf(reference);
  const std::vector<double> squares =
      SquaredDistances(baseline.State(baseline.run, last), final, run);
  const std::vector<double> logits_squares =
      SquaredDistances(logits, reference_logits, run);
  const std::vector<double> kl =
      OverRows(logits, run.parallel, nullptr, [&](size_t r) {
        return KlDivergence(logits.Row(r), reference_logits.Row(r), logits.cols,
                            reference.log_sum_exps[r]);
      });
  const double all = SumOf(squares), of_logits = SumOf(logits_squares);
  for (size_t r = 0; r < baseline.positions; ++r) {
    const Matrix<const double> state = {final.Row(r), 1, final.cols};
    errors.of.push_back({reference.massive[r], RatioOrZero(squares[r], all),
                         RatioOrZero(std::sqrt(squares[r]), Norm2(state)),
                         RatioOrZero(logits_squares[r], of_logits), kl[r]});
  }
  Retain(run.kept, subject, errors);
  return errors;
}

}  // namespace ulpscope
