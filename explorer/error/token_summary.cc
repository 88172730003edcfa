#include "explorer/error/token_summary.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "explorer/error/replicates.h"
#include "explorer/error/token_errors.h"
#include "explorer/error/windows.h"
#include "kernels/measure/quantile.h"

namespace ulpscope {
namespace {

constexpr double kPercents[] = {100, 99.9, 99, 95, 90,  75, 50,
                                25,  10,   5,  1,  0.1, 0};

// Figures of tokens, in the order of the windows.
struct Series {
  std::vector<double> values;
  std::vector<size_t> replicates;  // of each

  void Add(double value, size_t replicate) {
    values.push_back(value);
    replicates.push_back(replicate);
  }

  Estimate Mean() const {
    const auto over_tokens = MeanOf(values);
    std::map<size_t, std::pair<double, double>> sums;  // and counts
    for (size_t i = 0; i < values.size(); ++i) {
      auto& [sum, count] = sums[replicates[i]];
      sum += values[i];
      count += 1;
    }
    std::vector<double> means, counts;
    for (const auto& [replicate, of] : sums) {
      means.push_back(of.first / of.second);
      counts.push_back(of.second);
    }
    return {over_tokens.mean, over_tokens.standard_error,
            WeightedMeanOf(means, counts).standard_error};
  }

  double Rms() const {
    double squares = 0;
    for (const double x : values) squares += x * x;
    return std::sqrt(squares / static_cast<double>(values.size()));
  }

  double MaxAbs() const {
    double largest = 0;
    for (const double x : values) {
      if (ReplacesLargest(x, largest)) largest = std::fabs(x);
    }
    return largest;
  }

  // NaN counts as the largest, so that it shows.
  std::vector<double> Sorted() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end(), [](double a, double b) {
      return std::isnan(b) ? !std::isnan(a) : a < b;
    });
    return sorted;
  }
};

struct TextSeries {
  Series reference_logp, logp, delta_logp, delta_p, k3, ratio, off_by_twice;

  void Add(double reference, double value, size_t replicate) {
    const double d = value - reference;
    reference_logp.Add(reference, replicate);
    logp.Add(value, replicate);
    delta_logp.Add(d, replicate);
    delta_p.Add(std::exp(value) - std::exp(reference), replicate);
    // e^d - 1 - d without cancellation for a small d.
    k3.Add(std::expm1(d) - d, replicate);
    ratio.Add(std::exp(std::fabs(d)), replicate);
    const double twice = std::fabs(d) > std::log(2.0) ? 1 : 0;
    off_by_twice.Add(std::isnan(d) ? d : twice, replicate);
  }

  TokenSummary::Text Summary() const {
    TokenSummary::Text text;
    text.tokens = logp.values.size();
    text.reference_logp = reference_logp.Mean();
    text.logp = logp.Mean();
    text.reference_perplexity = std::exp(-text.reference_logp.mean);
    text.perplexity = std::exp(-text.logp.mean);
    text.delta_logp = delta_logp.Mean();
    text.delta_logp_rms = delta_logp.Rms();
    text.delta_logp_max_abs = delta_logp.MaxAbs();
    text.delta_p = delta_p.Mean();
    text.delta_p_rms = delta_p.Rms();
    text.k3 = k3.Mean();
    text.ratio = ratio.Mean();
    text.off_by_twice = off_by_twice.Mean();
    return text;
  }
};

std::vector<TokenPercentile> PercentilesOf(const Series& kl,
                                           const TextSeries& text) {
  std::vector<TokenPercentile> percentiles;
  const std::vector<double> of_kl = kl.Sorted(),
                            of_logp = text.delta_logp.Sorted(),
                            of_p = text.delta_p.Sorted();
  for (const double percent : kPercents) {
    TokenPercentile row = {
        percent, QuantileOfSorted(of_kl, percent / 100), {}, {}};
    if (!of_p.empty()) {
      row.delta_logp = QuantileOfSorted(of_logp, percent / 100);
      row.delta_p = QuantileOfSorted(of_p, percent / 100);
    }
    percentiles.push_back(row);
  }
  return percentiles;
}

}  // namespace

std::vector<size_t> ReplicatesOf(absl::Span<const Window> windows) {
  std::vector<size_t> replicates;
  size_t prompt = 0;
  for (size_t w = 0; w < windows.size(); ++w) {
    // Windows of a prompt are neighbours, and its first begins it.
    if (w > 0 && windows[w].begin == 0) ++prompt;
    replicates.push_back(prompt);
  }
  if (prompt > 0) return replicates;
  for (size_t w = 0; w < windows.size(); ++w) replicates[w] = w;
  return replicates;
}

std::optional<TokenSummary> Summarize(
    absl::Span<const TokenErrors* const> errors,
    absl::Span<const Window> windows, Positions positions) {
  const std::vector<size_t> replicates = ReplicatesOf(windows);
  TokenSummary summary;
  Series kl, same_top;
  TextSeries text;
  std::vector<double> flip_margins;
  for (size_t w = 0; w < windows.size(); ++w) {
    const TokenErrors& of = *errors[w];
    const size_t end = std::min(windows[w].end_scored, of.positions());
    for (size_t p = windows[w].first_scored; p < end; ++p) {
      if (positions == Positions::kOrdinary && of.massive[p] != 0) continue;
      kl.Add(of.kl[p], replicates[w]);
      same_top.Add(of.flips(p) ? 0 : 1, replicates[w]);
      if (of.flips(p)) flip_margins.push_back(of.flip_margin[p]);
      if (ReplacesLargest(of.rank[p], summary.worst_rank)) {
        summary.worst_rank = of.rank[p];
      }
      if (p < of.logp.size()) {
        text.Add(of.reference_logp[p], of.logp[p], replicates[w]);
      }
    }
  }
  if (kl.values.empty()) return std::nullopt;
  summary.positions = kl.values.size();
  summary.kl = kl.Mean();
  if (!text.logp.values.empty()) summary.text = text.Summary();
  summary.same_top = same_top.Mean();
  summary.flips = flip_margins.size();
  if (!flip_margins.empty()) {
    double largest = 0;
    for (const double margin : flip_margins) {
      if (ReplacesLargest(margin, largest)) largest = margin;
    }
    summary.flip_margin_mean = MeanOf(flip_margins).mean;
    summary.flip_margin_max = largest;
  }
  summary.percentiles = PercentilesOf(kl, text);
  return summary;
}

}  // namespace ulpscope
