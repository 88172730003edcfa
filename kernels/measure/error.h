#ifndef KERNELS_MEASURE_ERROR_H_
#define KERNELS_MEASURE_ERROR_H_

#include <cstddef>
#include <vector>

#include "kernels/base/format.h"

namespace ulpscope {

// Distance of the neighbours of `x` in `format`, which need not hold x itself:
// 2^(e - p + 1) for |x| in [2^e, 2^(e+1)) and p bits of precision, so a
// binade's lower edge has the wider spacing above it ("ulp" of Goldberg 1991).
// Below the normal numbers, at 0 too, it is the smallest subnormal; beyond the
// largest number, infinities included, that of the top binade. NaN gives NaN.
double SpacingAt(Format format, double x);

// |result - reference| in spacings of `format` at the reference; a correctly
// rounded result is within 0.5. Equal infinities and two NaN are 0 apart, a
// finite number and either of them infinitely far. A bf16 or f16 result is
// passed widened.
double UlpError(Format format, double result, double reference);

// |error| / sum_abs in units of u = 2^-24, where sum_abs = sum |a[i] b[i]|:
// what bounds like Gamma(n) limit, whatever the condition number. 0 / 0 is 0.
double ErrorInU(double error, double sum_abs);

struct Quantiles {
  double p50, p99, max;
};

// Nearest ranks: the smallest value not below the given share of them. NaN
// counts as infinity, so that it shows; no values give NaN.
Quantiles QuantilesOf(std::vector<double> values);

}  // namespace ulpscope

#endif  // KERNELS_MEASURE_ERROR_H_
