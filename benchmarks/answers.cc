#include "benchmarks/answers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "absl/types/span.h"
#include "kernels/base/format.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {
namespace {

double OverBound(double result, const Answer& answer) {
  const double error = std::fabs(result - answer.exact);
  if (error == 0) return 0;
  const double share = error / answer.bound;
  return std::isnan(share) ? std::numeric_limits<double>::infinity() : share;
}

// Of two relative errors, one after the other.
double Both(double a, double b) { return a + b + a * b; }

// The relative error of `count` operations, each rounded in the accumulators'
// type and, if the strategy has results of 16 bits, once more to them. f64
// accumulators are allowed f32's error, unless the result is f64 too.
double Roundings(const StrategyInfo& info, double count) {
  const Format lane = info.result == Format::kF64 ? Format::kF64 : Format::kF32;
  const double lanes = Gamma(count, UnitRoundoff(lane));
  if (info.result == Format::kF64) return lanes;
  return Both(lanes, Gamma(count, UnitRoundoff(info.result)));
}

// The relative error of a row's sum of n terms >= 0 over 16 lanes, which are
// then merged in 4 steps. A lane's terms meet no more roundings than those of a
// MatMul's output of 9 terms more, compensations included.
double RowSumError(const StrategyInfo& info, size_t n) {
  SumTerms terms;
  terms.n = (n + 15) / 16 + 9;
  terms.abs_result = 1;
  terms.abs_terms = 1;
  return Both(info.error_bound(terms), Roundings(info, 4));
}

// What a relative error e of a radicand or denominator does to 1 / sqrt or to
// the quotient. Infinite for e >= 1, where the analysis says nothing.
double OfInverse(double e) {
  return e < 1 ? 1 / (1 - e) - 1 : std::numeric_limits<double>::infinity();
}
double OfInverseRoot(double e) { return std::sqrt(1 + OfInverse(e)) - 1; }

// The exponential's own relative error (kernels/ops/exp-inl.h: 1.1 ULP, and an
// ULP is at most 2 u) and that of rounding an argument of this size.
double ExpError(const StrategyInfo& info, double argument) {
  const double u = Roundings(info, 1);
  return Both(std::expm1(u * std::fabs(argument)), 2.2 * u);
}

// What a rounding may err by besides, where it underflows.
double Underflow(const StrategyInfo& info) {
  return info.result == Format::kF16 ? kF16Underflow
                                     : std::numeric_limits<float>::denorm_min();
}

// Of a result that is reached by way of values of the same format, whose
// underflow counts `factor` times in it.
Answer Relative(const StrategyInfo& info, double exact, double error,
                double factor = 0) {
  return {exact,
          error * std::fabs(exact) + (1 + std::fabs(factor)) * Underflow(info)};
}

}  // namespace

double WorstOverBound(const std::vector<double>& results,
                      const std::vector<Answer>& answers) {
  double worst = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    worst = std::max(worst, OverBound(results[i], answers[i]));
  }
  return worst;
}

namespace {

// `sum_error` is the relative error of adding up the exponentials.
std::vector<Answer> SoftmaxAnswers(const StrategyInfo& info, double sum_error,
                                   const std::vector<double>& x) {
  const double max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const double v : x) sum += std::exp(v - max);
  double of_terms = 0;
  for (const double v : x) {
    of_terms = std::max(of_terms, ExpError(info, v - max));
  }
  const double denominator = OfInverse(Both(of_terms, sum_error));
  std::vector<Answer> answers;
  for (const double v : x) {
    const double error =
        Both(Both(ExpError(info, v - max), denominator), Roundings(info, 2));
    answers.push_back(Relative(info, std::exp(v - max) / sum, error));
  }
  return answers;
}

}  // namespace

std::vector<Answer> SoftmaxAnswers(const StrategyInfo& info,
                                   const std::vector<double>& x) {
  return SoftmaxAnswers(info, RowSumError(info, x.size()), x);
}

std::vector<Answer> PeerSoftmaxAnswers(const std::vector<double>& x) {
  const double any_order =
      Gamma(static_cast<double>(x.size()), UnitRoundoff(Format::kF32));
  return SoftmaxAnswers(Strategy().info(), any_order, x);
}

std::vector<Answer> RmsNormAnswers(const StrategyInfo& info,
                                   const std::vector<double>& x,
                                   absl::Span<const double> weight,
                                   double eps) {
  const size_t n = x.size();
  double sum = 0;
  for (const double v : x) sum += v * v;
  const double root = std::sqrt(sum / static_cast<double>(n) + eps);
  const double radicand = Both(RowSumError(info, n), Roundings(info, 3));
  const double error = Both(OfInverseRoot(radicand), Roundings(info, 5));
  std::vector<Answer> answers;
  for (size_t i = 0; i < n; ++i) {
    answers.push_back(
        Relative(info, x[i] / root * weight[i], error, 2 * weight[i]));
  }
  return answers;
}

std::vector<Answer> SwiGluAnswers(const StrategyInfo& info,
                                  const std::vector<double>& gate,
                                  const std::vector<double>& up) {
  std::vector<Answer> answers;
  for (size_t i = 0; i < gate.size(); ++i) {
    const double error =
        Both(OfInverse(Both(ExpError(info, 0), Roundings(info, 1))),
             Roundings(info, 3));
    answers.push_back(Relative(info, gate[i] / (1 + std::exp(-gate[i])) * up[i],
                               error, 2 * up[i]));
  }
  return answers;
}

std::vector<Answer> RopeAnswers(const StrategyInfo& info,
                                const std::vector<double>& cos,
                                const std::vector<double>& sin,
                                const std::vector<double>& x) {
  const size_t h = cos.size();
  // cos or sin, a product, the sum and the result.
  const double error = Roundings(info, 4);
  std::vector<Answer> answers(2 * h);
  for (size_t i = 0; i < h; ++i) {
    const double underflow =
        (3 + 2 * (std::fabs(x[i]) + std::fabs(x[i + h]))) * Underflow(info);
    answers[i] = {
        x[i] * cos[i] - x[i + h] * sin[i],
        error * (std::fabs(x[i] * cos[i]) + std::fabs(x[i + h] * sin[i])) +
            underflow};
    answers[i + h] = {
        x[i + h] * cos[i] + x[i] * sin[i],
        error * (std::fabs(x[i + h] * cos[i]) + std::fabs(x[i] * sin[i])) +
            underflow};
  }
  return answers;
}

std::vector<Answer> ResidualAnswers(const StrategyInfo& info,
                                    const std::vector<double>& stream,
                                    const std::vector<double>& update) {
  std::vector<Answer> answers;
  for (size_t i = 0; i < stream.size(); ++i) {
    answers.push_back(
        Relative(info, stream[i] + update[i], Roundings(info, 1)));
  }
  return answers;
}

std::vector<Answer> PeerLayerNormAnswers(const std::vector<double>& x,
                                         absl::Span<const double> scale,
                                         double eps) {
  const double n = static_cast<double>(x.size());
  const double u = UnitRoundoff(Format::kF32);
  double mean = 0, abs_mean = 0;
  for (const double v : x) {
    mean += v / n;
    abs_mean += std::fabs(v) / n;
  }
  double variance = 0, abs_difference = 0;
  for (const double v : x) {
    variance += (v - mean) * (v - mean) / n;
    abs_difference += std::fabs(v - mean) / n;
  }
  // A mean that is off by d moves the mean square by at most 2 d times the mean
  // difference, and d^2.
  const double d = Gamma(n + 1, u) * abs_mean;
  const double moved = 2 * d * abs_difference + d * d;
  const double of_variance = moved + Gamma(n + 4, u) * (variance + moved);
  const double root = OfInverseRoot(of_variance / (variance + eps));
  const double factor = Both(root, Gamma(6, u));
  std::vector<Answer> answers;
  for (size_t i = 0; i < x.size(); ++i) {
    const double inverse = scale[i] / std::sqrt(variance + eps);
    const double difference = std::fabs(x[i] - mean);
    answers.push_back(
        {(x[i] - mean) * inverse,
         std::fabs(inverse) * (factor * difference + (1 + factor) * d)});
  }
  return answers;
}

}  // namespace ulpscope
