#ifndef MODEL_LAYER_OPS_H_
#define MODEL_LAYER_OPS_H_

#include <cstddef>
#include <vector>

#include "kernels/matrix.h"
#include "kernels/parallel.h"
#include "kernels/strategy.h"
#include "model/config.h"

namespace ulpscope {

// RMSNorm of each run of weight.size() values of a row: the whole row, or its
// heads. y may be x.
void NormRows(Strategy strategy, Matrix<const double> x,
              const std::vector<double>& weight, double eps, Matrix<double> y,
              Parallel& parallel);

// The angles of rotary position embeddings (Su et al. 2021), of some positions.
class RopeAngles {
 public:
  explicit RopeAngles(const ModelConfig& config);

  // Positions first ... first + count - 1.
  void Set(size_t first, size_t count);

  // Rotates the heads of position first + i, in place.
  void Rotate(Strategy strategy, size_t i, Matrix<double> heads) const;

 private:
  std::vector<double> frequencies_;
  std::vector<double> cos_, sin_;  // [count, head_dim / 2]
};

}  // namespace ulpscope

#endif  // MODEL_LAYER_OPS_H_
