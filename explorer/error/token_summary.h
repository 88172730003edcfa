#ifndef EXPLORER_ERROR_TOKEN_SUMMARY_H_
#define EXPLORER_ERROR_TOKEN_SUMMARY_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "explorer/error/token_errors.h"
#include "explorer/error/windows.h"

namespace ulpscope {

// A mean over tokens, and its standard error: of the tokens, as if each were a
// draw of its own, and of the replicates, which are the prompts, or the windows
// of a single one. None of fewer than two.
struct Estimate {
  double mean = 0;
  std::optional<double> token_error, replicate_error;
};

// Figures of the tokens, the smallest first: of each share of them.
struct TokenPercentile {
  double percent;  // 100 is the largest, 0 the smallest
  double kl;
  std::optional<double> delta_logp, delta_p;
};

// What llama-perplexity prints of two runs over a text, what reinforcement
// learning watches, and how far likeliest tokens change. Logarithms are
// natural. d is the log-probability that the value gives the token that does
// come next, minus that of the reference.
struct TokenSummary {
  size_t positions = 0;  // that are scored
  Estimate kl;           // KL(reference || value)
  // Of the positions whose next token the window has; none if there is none.
  struct Text {
    size_t tokens = 0;
    Estimate reference_logp, logp;
    double reference_perplexity = 0, perplexity = 0;  // exp(-mean logp)
    Estimate delta_logp;                              // d
    double delta_logp_rms = 0;
    double delta_logp_max_abs = 0;
    Estimate delta_p;  // of probabilities
    double delta_p_rms = 0;
    // Schulman's k3, "Approximating KL Divergence" (2020), with r = e^d: mean
    // of e^d - 1 - d, at least 0.
    Estimate k3;
    Estimate ratio;         // mean of e^|d|
    Estimate off_by_twice;  // share of |d| > ln 2
  };
  std::optional<Text> text;
  Estimate same_top;  // share with the reference's likeliest token
  size_t flips = 0;   // positions without it
  // Over the flips: by how much the reference finds the value's token less
  // likely than its own. None if there is no flip.
  std::optional<double> flip_margin_mean, flip_margin_max;
  double worst_rank = 1;  // the largest place of the reference's likeliest
  std::vector<TokenPercentile> percentiles;
};

// Which positions a summary is of.
enum class Positions {
  kAll,       // that are scored
  kOrdinary,  // and have no massive activation
};

// Over the windows' scored positions; `errors` has one per window. None if
// there is no such position.
std::optional<TokenSummary> Summarize(
    absl::Span<const TokenErrors* const> errors,
    absl::Span<const Window> windows, Positions positions);

// Which replicate each window belongs to, from 0.
std::vector<size_t> ReplicatesOf(absl::Span<const Window> windows);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_TOKEN_SUMMARY_H_
