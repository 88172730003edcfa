#ifndef KERNELS_OPS_RMSNORM_H_
#define KERNELS_OPS_RMSNORM_H_

#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// y = x / sqrt(mean(x^2) + eps) * weight, row by row (Zhang, Sennrich 2019).
struct RmsNormArgs {
  Matrix<const double> x;
  // What the residual's addition left of x, which bf16_fused reads too; or
  // without data.
  Matrix<const double> carry = {};
  const double* weight = nullptr;  // x.cols values
  double eps = 0;
  Matrix<double> y;  // may be x
};

// The sum of squares is the strategy's over the row's 16 lanes
// (kernels/strategy/sum_driver-inl.h), or its threads' partial sums. Then, each
// rounded in the accumulators' type: mean, + eps, square root, reciprocal, x
// times it (rounded to a result format of 16 bits, as in PyTorch, where the
// cast comes before the weight, unless the strategy rounds once), times weight;
// rounded to the result's format.
void RmsNorm(Strategy strategy, const RmsNormArgs& args, Parallel& parallel);

}  // namespace ulpscope

#endif  // KERNELS_OPS_RMSNORM_H_
