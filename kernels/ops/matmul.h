#ifndef KERNELS_OPS_MATMUL_H_
#define KERNELS_OPS_MATMUL_H_

#include "absl/types/span.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/matmul_args.h"  // IWYU pragma: export
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// Each output is the strategy's textbook sum over ascending k; bias is its last
// term; a scale other than 1 multiplies the sum, rounded first to a result
// format of 16 bits (as PyTorch scales attention scores), and the result is
// rounded once. (An output that is kept unrounded meets neither rounding.)
void MatMul(Strategy strategy, const MatMulArgs& args, Parallel& parallel);

// Several MatMuls of one A, whose tasks run side by side.
void MatMuls(Strategy strategy, absl::Span<const MatMulArgs> all,
             Parallel& parallel);

}  // namespace ulpscope

#endif  // KERNELS_OPS_MATMUL_H_
