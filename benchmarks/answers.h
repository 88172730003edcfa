#ifndef BENCHMARKS_ANSWERS_H_
#define BENCHMARKS_ANSWERS_H_

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// Right answers, for operands that are representable in bf16 and f16: a wrong
// result is not worth timing.

// A result in f64, and how far from it a kernel may end.
struct Answer {
  double exact;
  double bound;
};

// The largest |result - exact| / bound; more than 1 is wrong. Infinite for NaN.
double WorstOverBound(const std::vector<double>& results,
                      const std::vector<Answer>& answers);

// One row of each other kernel. Their bounds are of first order and generous
// where that is simple: they tell a wrong kernel, not an inaccurate one
// (tests/kernels/ops/row_accuracy_test.cc does that).
std::vector<Answer> SoftmaxAnswers(const StrategyInfo& info,
                                   const std::vector<double>& x);
std::vector<Answer> RmsNormAnswers(const StrategyInfo& info,
                                   const std::vector<double>& x,
                                   absl::Span<const double> weight, double eps);
std::vector<Answer> SwiGluAnswers(const StrategyInfo& info,
                                  const std::vector<double>& gate,
                                  const std::vector<double>& up);
std::vector<Answer> RopeAnswers(const StrategyInfo& info,
                                const std::vector<double>& cos,
                                const std::vector<double>& sin,
                                const std::vector<double>& x);
std::vector<Answer> ResidualAnswers(const StrategyInfo& info,
                                    const std::vector<double>& stream,
                                    const std::vector<double>& update);

// Of peers, in f32 with sums in any order: softmax, and
// (x - mean) / sqrt(variance + eps) * scale with the variance taken from the
// differences.
std::vector<Answer> PeerSoftmaxAnswers(const std::vector<double>& x);
std::vector<Answer> PeerLayerNormAnswers(const std::vector<double>& x,
                                         absl::Span<const double> scale,
                                         double eps);

}  // namespace ulpscope

#endif  // BENCHMARKS_ANSWERS_H_
