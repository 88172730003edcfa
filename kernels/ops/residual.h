#ifndef KERNELS_OPS_RESIDUAL_H_
#define KERNELS_OPS_RESIDUAL_H_

#include <cstddef>

#include "kernels/strategy/strategy.h"

namespace ulpscope {

// stream = stream + update, n values; `carry` is what the stream's rounding
// left out, for the strategies that carry it on:
//   f32, bf16, f16
//               operands and sum rounded to the format; carry becomes 0
//   kahan       (stream, carry) is an unevaluated f32 sum, renormalized after
//               every addition: TwoSum, + carry, FastTwoSum
//   bf16_fused  as bf16, but carry becomes what the rounding left out, for the
//               norm that follows (kernels/ops/rmsnorm.h); it is not added
//               again
//   f64         the stream is kept in f64 as stream + carry, and stream is its
//               value rounded to f32
//   oracle      the stream is f64, and takes over what an earlier strategy has
//               carried so far; carry becomes 0
// Whoever else reads the stream sees `stream` alone, but for norms under
// bf16_fused.
void AddResidual(Strategy strategy, const double* update, size_t n,
                 double* stream, double* carry);

}  // namespace ulpscope

#endif  // KERNELS_OPS_RESIDUAL_H_
