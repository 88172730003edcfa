#ifndef KERNELS_OPS_SOFTMAX_H_
#define KERNELS_OPS_SOFTMAX_H_

#include "kernels/base/matrix.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// y = exp(x - max(x)) / sum(exp(x - max(x))), row by row; y may be x.
//
// The exponentials are computed in the accumulators' type to little more than 1
// ULP (kernels/ops/exp-inl.h), and their sum is the strategy's over the row's
// 16 lanes (kernels/strategy/sum_driver-inl.h); each quotient is rounded once
// more to the result's format. A row with a NaN or +inf, or with nothing above
// -inf, becomes NaN. Runs in the caller: attention calls it from many tasks.
void Softmax(Strategy strategy, Matrix<const double> x, Matrix<double> y);

}  // namespace ulpscope

#endif  // KERNELS_OPS_SOFTMAX_H_
