#ifndef KERNELS_MEASURE_QUANTILE_H_
#define KERNELS_MEASURE_QUANTILE_H_

#include <vector>

namespace ulpscope {

// Of measured times and rates: linear between the order statistics around
// share * (n - 1), which is definition 7 of Hyndman and Fan, "Sample Quantiles
// in Statistical Packages" (1996). 0.5 is the median. `values` are not empty.
double Quantile(std::vector<double> values, double share);

// The same of values in their order, which may end in infinities and NaN.
double QuantileOfSorted(const std::vector<double>& sorted, double share);

}  // namespace ulpscope

#endif  // KERNELS_MEASURE_QUANTILE_H_
