#ifndef KERNELS_OPS_STORE_HEADS_H_
#define KERNELS_OPS_STORE_HEADS_H_

#include <cstddef>

#include "kernels/base/matrix.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// Blocks of a head under q8_0 and q4_0; the last one may be shorter.
inline constexpr size_t kKvBlock = 32;

// y = what the KV cache gives back of x, keys or values, where it stores them
// under the strategy. Rows are heads at one position. y may be x.
//
// Under f32, f64 and oracle that is x. All others round x to f32 first, and
//   bf16, f16  to nearest even. NaN stays NaN, what rounds past the largest
//              number is infinite.
//   fp8        to the nearest even E4M3 of x clamped to +-448, infinities too.
//              NaN stays NaN.
//   int8       y = s q with s = amax / 127 and q = RNE(x / s) within +-127, 0
//              if s is 0; amax is the largest |x| of the head.
//   q8_0       y = f16(amax / 127) q with q = RNE(x (127 / amax)), by blocks of
//              32: quantize_row_q8_0 of ggml's CPU backend on x86, and back.
//   q4_0       y = f16(d) (q - 8) with d = m / -8, m the first value of largest
//              magnitude in a block of 32, and q = min(15, trunc(x (1 / d) +
//              8.5)): quantize_row_q4_0, and back.
// (A quotient by zero, and one that overflows, counts as 0: the scale in f16 is
// 0 then.) All of a head (int8) or block that has a NaN or an infinity is NaN,
// where ggml stores what its conversions happen to make of them. Scales that
// overflow f16 are infinite, as ggml's: x is then infinite, or NaN where q or q
// - 8 is 0. NaN that are made here have the same bits on every target.
void StoreHeads(Strategy strategy, Matrix<const double> x, Matrix<double> y);

}  // namespace ulpscope

#endif  // KERNELS_OPS_STORE_HEADS_H_
