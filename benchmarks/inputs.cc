#include "benchmarks/inputs.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "hwy/base.h"
#include "kernels/measure/random.h"

namespace ulpscope {

std::vector<hwy::bfloat16_t> RandomWeights(size_t count) {
  // A prime, so that no row length of a model divides it.
  constexpr size_t kPeriod = (size_t{1} << 20) + 7;
  Random random(1);
  std::vector<hwy::bfloat16_t> weights(count);
  const size_t drawn = std::min(count, kPeriod);
  for (size_t i = 0; i < drawn; ++i) {
    weights[i] = OfAllFormats(static_cast<float>(0.02 * random.Gaussian()));
  }
  for (size_t i = drawn; i < count; ++i) weights[i] = weights[i - kPeriod];
  return weights;
}

}  // namespace ulpscope
