#ifndef EXPLORER_ERROR_REPLICATES_H_
#define EXPLORER_ERROR_REPLICATES_H_

#include <optional>

#include "absl/types/span.h"

namespace ulpscope {

// What repetitions of a measurement (windows, prompts, tokens) say of its
// spread. Values that are not finite make figures NaN.

// A mean of replicates, and the standard error of that mean; none of fewer
// than two.
struct Mean {
  double mean = 0;
  std::optional<double> standard_error;
};

// Of values that count alike: s / sqrt(n). There is one.
Mean MeanOf(absl::Span<const double> values);

// sum(weight * value) / sum(weight), and its standard error as of a ratio of
// two sums over replicates (Cochran, Sampling Techniques, 1977, section 6.4),
// without a finite population. There is one; weights are positive.
Mean WeightedMeanOf(absl::Span<const double> values,
                    absl::Span<const double> weights);

// P(|T| >= |t|) of Student's t with that many degrees of freedom, at least 1
// (Abramowitz and Stegun 26.7.3 and 26.7.4). NaN of NaN.
double StudentTwoSided(double t, int degrees);

// The t for which that is 5 %: the reach of a 95 % confidence interval, in
// standard errors.
double StudentReach(int degrees);

// Whether two paired series differ in their means at the 5 % level, by the
// paired t-test; none of fewer than two pairs, or if some value is not finite.
std::optional<bool> DifferInMean(absl::Span<const double> a,
                                 absl::Span<const double> b);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_REPLICATES_H_
