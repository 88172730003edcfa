#include "explorer/error/token_errors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr size_t kBlock = 64;  // of positions: a fraction of a second

// Whether the logit a comes before b of a smaller token. NaN is largest, so
// that it shows.
bool IsLikelier(double a, double b) {
  if (std::isnan(b)) return false;
  return std::isnan(a) || a > b;
}

// The ids of the largest logits of a row, the largest first; of equal ones the
// first.
class Likeliest {
 public:
  static constexpr size_t kMost = 10;

  Likeliest(const double* row, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      if (count_ == kMost && !IsLikelier(row[i], row[ids_[kMost - 1]])) {
        continue;
      }
      size_t place = count_ < kMost ? count_++ : kMost - 1;
      for (; place > 0 && IsLikelier(row[i], row[ids_[place - 1]]); --place) {
        ids_[place] = ids_[place - 1];
      }
      ids_[place] = i;
    }
  }

  absl::Span<const size_t> ids() const { return {ids_.data(), count_}; }

 private:
  std::array<size_t, kMost> ids_ = {};
  size_t count_ = 0;
};

// From 1; NaN if the token's logit is.
double RankOf(size_t token, const double* row, size_t n) {
  if (std::isnan(row[token])) return kNaN;
  size_t before = 0;
  for (size_t i = 0; i < n; ++i) {
    // Of equal ones, those of smaller tokens.
    if (row[i] > row[token] || (row[i] == row[token] && i < token) ||
        std::isnan(row[i])) {
      ++before;
    }
  }
  return static_cast<double>(before + 1);
}

void ComparePosition(const double* v, const double* ref, size_t n,
                     double reference_norm, size_t position,
                     TokenErrors& errors) {
  double max_abs = 0;
  for (size_t i = 0; i < n; ++i) {
    const double error = std::fabs(v[i] - ref[i]);
    if (ReplacesLargest(error, max_abs)) max_abs = error;
  }
  errors.max_abs[position] = max_abs;
  const double norm = LogSumExp(v, n);
  errors.kl[position] = KlDivergence(v, ref, n, norm, reference_norm);
  const Likeliest top(v, n), ref_top(ref, n);
  // A NaN is no prediction: it agrees with nothing.
  const auto agrees = [v, ref](size_t token) {
    return !std::isnan(v[token]) && !std::isnan(ref[token]);
  };
  double shared = 0;
  for (const size_t token : ref_top.ids()) {
    if (agrees(token) && absl::c_linear_search(top.ids(), token)) shared += 1;
  }
  errors.top10[position] = shared / static_cast<double>(ref_top.ids().size());
  const size_t first = top.ids()[0], ref_first = ref_top.ids()[0];
  const auto id = [](size_t token, const double* row) {
    return std::isnan(row[token]) ? kNaN : static_cast<double>(token);
  };
  errors.top[position] = id(first, v);
  errors.reference_top[position] = id(ref_first, ref);
  errors.margin[position] = ref_top.ids().size() < 2
                                ? kInfinity
                                : ref[ref_first] - ref[ref_top.ids()[1]];
  errors.flip_margin[position] =
      std::isnan(v[first]) ? kNaN : ref[ref_first] - ref[first];
  errors.rank[position] =
      std::isnan(ref[ref_first]) ? kNaN : RankOf(ref_first, v, n);
  // The norms that KL took, for the token that comes next.
  if (position < errors.logp.size()) errors.logp[position] = norm;
}

// Calls fn for every row at the same time, a block after the other. False if
// stopped.
bool ForRows(size_t rows, Monitor& monitor, Parallel& parallel,
             absl::FunctionRef<void(size_t)> fn) {
  for (size_t begin = 0; begin < rows; begin += kBlock) {
    if (monitor.stopped()) return false;
    parallel.For(std::min(kBlock, rows - begin),
                 [&](size_t i) { fn(begin + i); });
  }
  return true;
}

}  // namespace

bool ReplacesLargest(double x, double largest) {
  if (std::isnan(largest)) return false;
  return std::isnan(x) || std::fabs(x) > std::fabs(largest);
}

double LogSumExp(const double* row, size_t n) {
  const double max = *std::max_element(row, row + n);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(row[i] - max);
  return max + std::log(sum);
}

std::optional<std::vector<double>> LogSumExps(Matrix<const double> rows,
                                              Monitor& monitor,
                                              Parallel& parallel) {
  std::vector<double> norms(rows.rows);
  if (!ForRows(rows.rows, monitor, parallel, [&](size_t r) {
        norms[r] = LogSumExp(rows.Row(r), rows.cols);
      })) {
    return std::nullopt;
  }
  return norms;
}

double KlDivergence(const double* value, const double* reference, size_t n,
                    double value_norm, double reference_norm) {
  double kl = 0;
  for (size_t i = 0; i < n; ++i) {
    const double log_p = reference[i] - reference_norm;
    kl += std::exp(log_p) * (log_p - (value[i] - value_norm));
  }
  // Rounding can take a KL divergence of nothing below 0.
  return kl < 0 ? 0 : kl;
}

double KlDivergence(const double* value, const double* reference, size_t n,
                    double reference_norm) {
  return KlDivergence(value, reference, n, LogSumExp(value, n), reference_norm);
}

bool CompareTokens(Matrix<const double> value, Matrix<const double> reference,
                   absl::Span<const double> reference_norms,
                   absl::Span<const int32_t> tokens, Monitor& monitor,
                   Parallel& parallel, TokenErrors& errors) {
  const size_t rows = value.rows;
  for (std::vector<double>* figures :
       {&errors.kl, &errors.max_abs, &errors.top10, &errors.reference_top,
        &errors.top, &errors.margin, &errors.flip_margin, &errors.rank}) {
    figures->assign(rows, 0);
  }
  errors.logp.assign(rows == 0 ? 0 : rows - 1, 0);
  errors.reference_logp = errors.logp;
  if (!ForRows(rows, monitor, parallel, [&](size_t r) {
        ComparePosition(value.Row(r), reference.Row(r), value.cols,
                        reference_norms[r], r, errors);
      })) {
    return false;
  }
  for (size_t r = 0; r + 1 < rows; ++r) {
    const size_t next = static_cast<size_t>(tokens[r + 1]);
    errors.logp[r] = value.Row(r)[next] - errors.logp[r];
    errors.reference_logp[r] = reference.Row(r)[next] - reference_norms[r];
  }
  return true;
}

LogitMetrics LogitMetricsOf(const TokenErrors& errors, size_t first,
                            size_t end) {
  LogitMetrics metrics;
  end = std::min(end, errors.positions());
  if (first >= end) return metrics;
  double agree = 0, overlap = 0;
  for (size_t p = first; p < end; ++p) {
    if (ReplacesLargest(errors.max_abs[p], metrics.max_abs)) {
      metrics.max_abs = errors.max_abs[p];
    }
    metrics.kl += errors.kl[p];
    if (ReplacesLargest(errors.kl[p], metrics.kl_max)) {
      metrics.kl_max = errors.kl[p];
    }
    if (!errors.flips(p)) agree += 1;
    overlap += errors.top10[p];
  }
  const double count = static_cast<double>(end - first);
  metrics.kl /= count;
  metrics.top1_agreement = agree / count;
  metrics.top10_overlap = overlap / count;
  return metrics;
}

std::optional<LogitMetrics> CompareLogits(Matrix<const double> value,
                                          Matrix<const double> reference,
                                          Monitor& monitor,
                                          Parallel& parallel) {
  const auto norms = LogSumExps(reference, monitor, parallel);
  TokenErrors errors;
  const std::vector<int32_t> tokens(value.rows, 0);
  if (!norms.has_value() || !CompareTokens(value, reference, *norms, tokens,
                                           monitor, parallel, errors)) {
    return std::nullopt;
  }
  return LogitMetricsOf(errors, 0, value.rows);
}

}  // namespace ulpscope
