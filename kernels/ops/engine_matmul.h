#ifndef KERNELS_OPS_ENGINE_MATMUL_H_
#define KERNELS_OPS_ENGINE_MATMUL_H_

#include "kernels/base/parallel.h"
#include "kernels/ops/matmul_args.h"
#include "kernels/strategy/strategy_info.h"

namespace ulpscope {

// MatMul under a strategy with an engine: operands as its quantiser makes them,
// sums as its accumulator has them, then bias, scale and rounding as MatMul's.
void EngineMatMul(const StrategyInfo& strategy, const MatMulArgs& args,
                  Parallel& parallel);

}  // namespace ulpscope

#endif  // KERNELS_OPS_ENGINE_MATMUL_H_
