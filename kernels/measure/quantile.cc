#include "kernels/measure/quantile.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/log/check.h"

namespace ulpscope {

double Quantile(std::vector<double> values, double share) {
  CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] +
         (at - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace ulpscope
