#include "tests/explorer/diagnosis/made_values.h"

#include <cstddef>
#include <vector>

#include "explorer/diagnosis/compared_values.h"
#include "kernels/measure/random.h"
#include "model/architecture/rounding.h"

namespace ulpscope {

ComparedValues MadeValues(size_t rows, size_t cols, double unit_roundoff,
                          Random& random) {
  ComparedValues v;
  v.rows = rows;
  v.cols = cols;
  for (size_t i = 0; i < rows * cols; ++i) {
    const double x = random.Gaussian();
    const double u = unit_roundoff * x;
    v.exact.push_back(x);
    v.theirs.push_back(x + random.Uniform(-1, 1) * u);
    v.ours.push_back(x + random.Uniform(-1, 1) * u);
    v.noise.push_back(u * u / 3);
  }
  return v;
}

ComparedValues MadeNorm(size_t rows, size_t cols, Random& random) {
  ComparedValues v;
  v.rows = rows;
  v.cols = cols;
  std::vector<double> weights;
  for (size_t c = 0; c < cols; ++c) {
    weights.push_back(RoundedToBF16(1 + 0.3 * random.Gaussian()));
  }
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < cols; ++c) {
      const double x = random.Gaussian();
      const double y = RoundedToBF16(RoundedToBF16(x) * weights[c]);
      const double u = 0x1p-8 * y;
      v.exact.push_back(x * weights[c]);
      v.theirs.push_back(y);
      v.ours.push_back(y);
      v.noise.push_back(u * u / 3);
    }
  }
  return v;
}

}  // namespace ulpscope
