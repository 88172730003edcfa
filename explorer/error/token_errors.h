#ifndef EXPLORER_ERROR_TOKEN_ERRORS_H_
#define EXPLORER_ERROR_TOKEN_ERRORS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "explorer/error/run.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"

namespace ulpscope {

// log(sum(exp(row))) of n values.
double LogSumExp(const double* row, size_t n);

// [rows]: the same of every row. Nothing if stopped.
std::optional<std::vector<double>> LogSumExps(Matrix<const double> rows,
                                              Monitor& monitor,
                                              Parallel& parallel);

// KL(reference || value) of the distributions that two rows of n logits stand
// for, nats, at least 0; the norms are their LogSumExps. Below some 1e-14 it is
// rounding: the terms of the sum are not.
double KlDivergence(const double* value, const double* reference, size_t n,
                    double value_norm, double reference_norm);
double KlDivergence(const double* value, const double* reference, size_t n,
                    double reference_norm);

// What one run over a sequence of tokens makes of each of them, against a
// reference's run over the same ones. Logarithms are natural: nats. Of equal
// logits the one of the smaller token is the likelier.
struct TokenErrors {
  // [positions]: of the distribution of the token that comes after it.
  std::vector<double> kl;       // KL(reference || value)
  std::vector<double> max_abs;  // largest absolute error of the logits
  std::vector<double> top10;    // share of the reference's ten likeliest tokens
                                // that are among the value's
  // Likeliest tokens' ids; NaN where their logit is.
  std::vector<double> reference_top, top;
  // Of the reference: log-probability of its likeliest token minus that of the
  // second, infinite if there is no second; and minus that of the value's
  // likeliest, 0 where the two agree.
  std::vector<double> margin, flip_margin;
  // The place of the reference's likeliest token in the value's order, from 1.
  // NaN where either has NaN there.
  std::vector<double> rank;
  // [positions - 1]: log-probability of the token that does come after it.
  std::vector<double> reference_logp, logp;
  // [positions]: of the final hidden state, before the final norm: 2-norms of
  // the reference and of the error.
  std::vector<double> reference_l2, error_l2;
  // [positions]: 1 where the reference's state after some layer has a massive
  // activation (explorer/error/massive.h), else 0.
  std::vector<double> massive;

  size_t positions() const { return kl.size(); }
  bool flips(size_t position) const {
    return !(top[position] == reference_top[position]);
  }
};

// Fills all that comes of logits. `reference_norms` are the reference's
// LogSumExps, `tokens` those that were run, one per row. False if stopped.
bool CompareTokens(Matrix<const double> value, Matrix<const double> reference,
                   absl::Span<const double> reference_norms,
                   absl::Span<const int32_t> tokens, Monitor& monitor,
                   Parallel& parallel, TokenErrors& errors);

// How far next-token distributions are from a reference, over positions. A NaN
// agrees with nothing. Vocabularies of less than ten tokens have that many
// likeliest.
struct LogitMetrics {
  double max_abs = 0;         // of the logits
  double kl = 0;              // mean KL(reference || value), nats
  double kl_max = 0;          // of any position
  double top1_agreement = 1;  // share of positions
  double top10_overlap = 1;   // mean share of the reference's ten likeliest
};

// Over the positions [first, end); an `end` beyond the last is the last.
LogitMetrics LogitMetricsOf(const TokenErrors& errors, size_t first,
                            size_t end);

// Of all rows. Nothing if stopped.
std::optional<LogitMetrics> CompareLogits(Matrix<const double> value,
                                          Matrix<const double> reference,
                                          Monitor& monitor, Parallel& parallel);

// Whether x is larger in magnitude than the largest so far. NaN is larger than
// any number, and the first one stays.
bool ReplacesLargest(double x, double largest);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_TOKEN_ERRORS_H_
