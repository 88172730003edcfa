#include "explorer/diagnosis/evident_logits.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "explorer/diagnosis/hypotheses.h"
#include "explorer/diagnosis/results.h"
#include "explorer/error/token_errors.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/norms.h"
#include "model/architecture/variant.h"

namespace ulpscope {
namespace {

// A logarithm of a sum of probabilities is 0 but for the rounding of its
// terms, of logits of some tens in bf16.
constexpr double kNoLogSum = 0.1;

Hypothesis OfLogits(std::string id, std::string what, std::string advice,
                    std::function<void(Variant&)> edit) {
  Hypothesis h;
  h.id = std::move(id);
  h.what = std::move(what);
  h.advice = std::move(advice);
  h.variant = std::move(edit);
  return h;
}

// theirs = slope * ours + a number for each row.
struct Slope {
  double slope = 0;
  double apart = 1;  // 1 - the squared cosine
  // What rounding of theirs makes of it: of numbers that are large against
  // their differences more than kOneFactor.
  double rounding = 0;
};

Slope SlopeOf(Matrix<const double> theirs, Matrix<const double> ours,
              double unit_roundoff) {
  double product = 0, theirs_squares = 0, ours_squares = 0, rounding = 0;
  for (size_t r = 0; r < ours.rows; ++r) {
    double mean_theirs = 0, mean_ours = 0;
    for (size_t c = 0; c < ours.cols; ++c) {
      mean_theirs += theirs.Row(r)[c];
      mean_ours += ours.Row(r)[c];
    }
    mean_theirs /= static_cast<double>(ours.cols);
    mean_ours /= static_cast<double>(ours.cols);
    for (size_t c = 0; c < ours.cols; ++c) {
      const double t = theirs.Row(r)[c] - mean_theirs;
      const double o = ours.Row(r)[c] - mean_ours;
      const double error = unit_roundoff * theirs.Row(r)[c];
      product += t * o;
      theirs_squares += t * t;
      ours_squares += o * o;
      rounding += error * error / 3;
    }
  }
  Slope slope;
  if (!(theirs_squares * ours_squares > 0)) return slope;
  slope.slope = product / ours_squares;
  slope.apart = 1 - product / theirs_squares * (product / ours_squares);
  slope.rounding = rounding / theirs_squares;
  return slope;
}

double Largest(Matrix<const double> x) {
  double largest = 0;
  for (size_t r = 0; r < x.rows; ++r) {
    for (size_t c = 0; c < x.cols; ++c) {
      largest = std::max(largest, std::fabs(x.Row(r)[c]));
    }
  }
  return largest;
}

// Where f, which has one minimum between two positive numbers, has it.
double LeastAt(absl::FunctionRef<double(double)> f, double low, double high) {
  const double golden = (std::sqrt(5.0) - 1) / 2;
  double a = std::log(low), b = std::log(high);
  constexpr int kSteps = 64;
  for (int i = 0; i < kSteps; ++i) {
    const double c = b - golden * (b - a), d = a + golden * (b - a);
    if (f(std::exp(c)) < f(std::exp(d))) {
      b = d;
    } else {
      a = c;
    }
  }
  return std::exp((a + b) / 2);
}

}  // namespace

double NearestNumber(double measured, double relative_error) {
  const double size = std::fabs(measured);
  const auto is = [&](double number) {
    return std::fabs(size / number - 1) <= 6 * relative_error;
  };
  std::vector<double> numbers = {std::exp2(std::round(std::log2(size)))};
  for (const double largest : {448.0, 240.0, 224.0, 127.0, 57344.0}) {
    numbers.push_back(largest);
    numbers.push_back(1 / largest);
  }
  for (const int digits : {1, 2, 3}) {
    const double last = std::pow(10, std::floor(std::log10(size)) + 1 - digits);
    numbers.push_back(std::round(size / last) * last);
  }
  for (const double number : numbers) {
    if (is(number)) return std::copysign(number, measured);
  }
  return measured;
}

namespace {

// The cap of tanh that leaves least of theirs, if it leaves little, and a tenth
// of what a factor leaves.
std::optional<double> CapOf(Matrix<const double> theirs,
                            Matrix<const double> ours, double factor_leaves) {
  const double most = Largest(theirs);
  if (most == 0 || most >= Largest(ours)) return std::nullopt;
  const auto squares = [&](double cap) {
    double sum = 0;
    for (size_t r = 0; r < ours.rows; ++r) {
      for (size_t c = 0; c < ours.cols; ++c) {
        const double d =
            theirs.Row(r)[c] - cap * std::tanh(ours.Row(r)[c] / cap);
        sum += d * d;
      }
    }
    return sum;
  };
  const double found = LeastAt(squares, most, 100 * Largest(ours));
  const double left = squares(found) / Dot(theirs, theirs);
  if (!(left < kOneFactor) || !(left < 0.1 * factor_leaves)) {
    return std::nullopt;
  }
  return NearestNumber(found, std::sqrt(left));
}

}  // namespace

std::vector<Hypothesis> LogitsHypotheses(Matrix<const double> all_theirs,
                                         Matrix<const double> ours,
                                         double unit_roundoff) {
  std::vector<Hypothesis> all;
  const Matrix<const double> theirs(all_theirs.data,
                                    std::min(all_theirs.rows, ours.rows),
                                    all_theirs.cols, all_theirs.stride);
  if (ours.rows == 0 || theirs.rows < ours.rows || theirs.cols != ours.cols) {
    return all;
  }
  double log_sum = 0;
  for (size_t r = 0; r < theirs.rows; ++r) {
    for (size_t c = 0; c < theirs.cols; ++c) {
      if (!std::isfinite(theirs.Row(r)[c]) || !std::isfinite(ours.Row(r)[c])) {
        return all;
      }
    }
    log_sum =
        std::max(log_sum, std::fabs(LogSumExp(theirs.Row(r), theirs.cols)));
  }
  const Slope line = SlopeOf(theirs, ours, unit_roundoff);
  const std::optional<double> cap = CapOf(theirs, ours, line.apart);
  if (cap.has_value()) {
    all.push_back(OfLogits(
        absl::StrFormat("logits_capped_%.4g", *cap),
        absl::StrFormat("the logits are soft-capped: %.4g tanh(logit / %.4g)",
                        *cap, *cap),
        "leave them as lm_head computes them (soft-capping is Gemma 2's)",
        [cap = *cap](Variant& v) { v.logits_cap = cap; }));
    return all;
  }
  if (!(line.apart < std::max(kOneFactor, 8 * line.rounding)) ||
      line.slope <= 0) {
    return all;
  }
  const double elements =
      static_cast<double>(ours.rows) * static_cast<double>(ours.cols);
  double scale = NearestNumber(
      line.slope, std::sqrt(std::max(line.apart, 0x1p-48) / elements));
  // Ours are rounded to 16 bits, perhaps, where theirs are not.
  if (std::fabs(scale - 1) < 0x1p-8) scale = 1;
  const bool log_softmax = log_sum < kNoLogSum;
  if (log_softmax) {
    all.push_back(OfLogits(
        scale == 1 ? "logits_log_softmax"
                   : absl::StrFormat("logits_log_softmax_of_%.4g", scale),
        scale == 1
            ? "the logits are logarithms of probabilities"
            : absl::StrFormat("the logits are logarithms of probabilities, "
                              "of logits times %.4g",
                              scale),
        "compare what lm_head computes, before log_softmax",
        [scale](Variant& v) {
          v.logits_scale = scale;
          v.log_softmax = true;
        }));
    all.back().kind = CauseKind::kComparison;
  } else if (scale != 1) {
    all.push_back(
        OfLogits(absl::StrFormat("logits_scaled_%.4g", scale),
                 absl::StrFormat("the logits are multiplied by %.4g (a "
                                 "temperature of %.4g)",
                                 scale, 1 / scale),
                 "compare what lm_head computes, before a temperature",
                 [scale](Variant& v) { v.logits_scale = scale; }));
    all.back().kind = CauseKind::kComparison;
  }
  return all;
}

}  // namespace ulpscope
