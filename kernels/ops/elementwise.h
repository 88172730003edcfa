#ifndef KERNELS_OPS_ELEMENTWISE_H_
#define KERNELS_OPS_ELEMENTWISE_H_

#include <cstddef>

#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// Ops without a sum. Operands are rounded to the strategy's operand format,
// every operation below is rounded in the type of the strategy's accumulators
// (and to a result format of 16 bits, as PyTorch does op by op), and the result
// to its result format.

// Rotates each row x of 2h values, a head at one position (rotate-half form of
// Su et al. 2021): for i < h
//   x[i]     = x[i] cos[i] + (-x[i + h]) sin[i]
//   x[i + h] = x[i + h] cos[i] + x[i] sin[i]
// with h values of cos and sin.
void Rope(Strategy strategy, const double* cos, const double* sin,
          Matrix<double> x);

// y = silu(gate) * up with silu(g) = g / (1 + exp(-g)) (Shazeer 2020). y may be
// gate or up.
void SwiGlu(Strategy strategy, Matrix<const double> gate,
            Matrix<const double> up, Matrix<double> y, Parallel& parallel);

// y = x rounded to the operand and then to the result format: an embedding.
void RoundRow(Strategy strategy, const double* x, size_t n, double* y);

}  // namespace ulpscope

#endif  // KERNELS_OPS_ELEMENTWISE_H_
