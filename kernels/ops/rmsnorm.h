#ifndef KERNELS_OPS_RMSNORM_H_
#define KERNELS_OPS_RMSNORM_H_

#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// y = x / sqrt(mean(x^2) + eps) * weight, row by row (Zhang, Sennrich 2019).
template <typename T>
struct RmsNormArgs {
  Matrix<const T> x;
  const double* weight = nullptr;  // x.cols values
  double eps = 0;
  Matrix<T> y;  // may be x
};

// The sum of squares is the strategy's over the row's 16 lanes
// (kernels/strategy/sum_driver-inl.h). Then, each rounded in the accumulators'
// type: mean, + eps, square root, reciprocal, x times it (rounded to a result
// format of 16 bits, as in PyTorch, where the cast comes before the weight),
// times weight; rounded to the result's format.
template <typename T>
void RmsNorm(Strategy strategy, const RmsNormArgs<T>& args, Parallel& parallel);

extern template void RmsNorm<float>(Strategy, const RmsNormArgs<float>&,
                                    Parallel&);
extern template void RmsNorm<double>(Strategy, const RmsNormArgs<double>&,
                                     Parallel&);

}  // namespace ulpscope

#endif  // KERNELS_OPS_RMSNORM_H_
