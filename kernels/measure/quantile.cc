#include "kernels/measure/quantile.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/log/check.h"

namespace ulpscope {

double Quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return QuantileOfSorted(values, share);
}

double QuantileOfSorted(const std::vector<double>& sorted, double share) {
  CHECK(!sorted.empty());
  const double at = share * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(at);
  const double part = at - static_cast<double>(below);
  // Nothing of an infinite neighbour.
  if (part == 0) return sorted[below];
  return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

}  // namespace ulpscope
