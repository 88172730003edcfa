#ifndef TESTS_KERNELS_STRATEGY_ENGINE_MODELS_H_
#define TESTS_KERNELS_STRATEGY_ENGINE_MODELS_H_

#include <cstddef>
#include <functional>

#include "kernels/base/matrix.h"
#include "tests/kernels/strategy/engine_formats.h"
#include "tests/kernels/strategy/engine_quantizers.h"

namespace ulpscope::engine_models {

// How inference engines sum products, as scalar loops written from the
// definitions (docs/engines.md and the sources named here). They share no
// code with the kernels that they judge, and are slow.
//
// A model takes a row of A and one of B, k numbers each, and gives the sum
// before it is rounded to a result format: an f32 number unless said otherwise.

// TC(N, P, K), one step of a tensor core: the accumulator and K products are
// aligned to the largest exponent among them, truncated to N fraction bits
// there, added exactly, and the sum is truncated to P fraction bits.
//
// All of it is as in microsoft/MMA-Sim, mmasim/simulator/arithmetic.py
// (fused_dot_add, fused_sum, nv_fused_dot_add), whose authors compared it with
// the hardware; what is marked (*) follows from its Python and may not have
// been part of that comparison:
// - A product's exponent is the sum of its operands' and its significand, in
//   [1, 4) for normal operands, is not normalised first. A subnormal has the
//   least exponent of its format (bf16 and tf32 -126, f16 -14, e4m3 -6).
// - A zero *operand* counts -126 and is added to the other one's exponent: 0
//   times 2^100 counts -26. In bf16 such a product can push others out (*).
//   badasherez/gpu-simulator, utils/utils.h, measured instead that the largest
//   exponent is never below -133 (Hopper), -132 (Ampere) or -139 (Hopper, fp8),
//   whatever zero is multiplied by. They differ only by zeros times numbers
//   beyond 1, and for sums of products below 2^-126.
// - The accumulator is an f32 number; a zero or subnormal one counts -126, so
//   the largest exponent is never below that. Hence zeros that fill up a last
//   group, whose products count -252, cannot matter, and it is left shorter.
// - The sum is truncated to P bits at its own exponent, or at -126 below f32's
//   normal numbers: subnormals are kept, as multiples of 2^(-126 - P).
// - P = 13: that many bits of an f32 number, kept as f32; the accumulator of
//   the next step has no others.
// - A sum of 2^128 or more is an infinity, not the largest number (*); sums
//   below that are truncated. The accumulator then is infinite.
// - A NaN, infinity times zero or opposite infinities give NaN (the hardware's
//   is 0x7FFFFFFF); else an infinity stays.
// - Zero is always +0, also a negative sum that is truncated to it.
struct TensorCore {
  int aligned_bits;  // N
  int result_bits;   // P
  size_t products;   // K
};

// mmasim/simulator/nv_ptx.py: wgmma (Hopper) and tcgen05mma (Blackwell), 25;
// mma of Ampere, 24, where m16n8k16 runs as two halves of 8; Volta, 23, m8n8k4.
inline constexpr TensorCore kH100 = {25, 23, 16};
inline constexpr TensorCore kA100 = {24, 23, 8};
inline constexpr TensorCore kV100 = {23, 23, 4};
inline constexpr TensorCore kH100Tf32 = {25, 23, 8};
inline constexpr TensorCore kH100Fp8 = {13, 13, 32};
inline constexpr TensorCore kB200Fp8 = {25, 23, 32};

// One step: c and the products of a and b, numbers of `format`. The exponent of
// every product is raised by `scale_exponent` (see MxFp8Dot).
double TensorCoreStep(const TensorCore& core, const FloatFormat& format,
                      Values a, Values b, double c, int scale_exponent = 0);

// Steps over ascending groups of K from c = 0. Rounds operands to `format`
// itself, to nearest.
double TensorCoreDot(const TensorCore& core, const FloatFormat& format,
                     Values a, Values b);

// TC(25, 23, 8) of operands truncated to tf32: truncate_to_tf32 clears 13 bits.
// (Of a NaN too, where it may leave an infinity; here NaN stays NaN.)
double Tf32Dot(Values a, Values b);

// E4M3 operands as they are, without scales.
double Fp8FastDot(Values a, Values b);  // TC(13, 13, 32), never promoted
double Fp8B200Dot(Values a, Values b);  // TC(25, 23, 32)

// The same with one scale per row of A and of B (blocks of k): s_a (s_b c),
// each product in f32, as in vLLM's scaled_mm_epilogues_c3x.hpp.
double Fp8RowScaledDot(const TensorCore& core, const Fp8Row& a,
                       const Fp8Row& b);

// DeepGEMM's sm90_fp8_gemm_1d2d.cuh: per block, c from 0 over TC(13, 13, 32),
// then acc = FMA_f32(c, RNE_f32(s_a s_b), acc).
double Fp8PromotedDot(const Fp8Row& a, const Fp8Row& b);
double Fp8H100(Values a, ValueMatrix b, size_t j);  // quantises, too

// MMA-Sim's mxf8f6f4: TC(25, 23, 32), the exponents of both scales added to
// those of the products. A NaN scale gives NaN.
double MxFp8Dot(const MxRow& a, const MxRow& b);
double MxFp8(Values a, Values b);

// A step of block-scaled FP4 on Blackwell, MMA-Sim's
// nv_fused_dot_add_with_block_scale (kind::mxf4nvf4, 64 products): sums of 16
// products are exact, each is multiplied by the significands of its two scales
// and counts the sum of their exponents (also where it is zero), and these up
// to four and the accumulator are added as in TC(35, 23, 4). It says nothing
// of an infinite accumulator (Python raises); here it stays as it is.
double Fp4ScaledDot(Values a, Values a_scales, Values b, Values b_scales,
                    size_t block);

// Fp4ScaledDot with blocks of 32.
double MxFp4Dot(const MxRow& a, const MxRow& b);
double MxFp4(Values a, Values b);
// The other instruction that takes E2M1: as MxFp8Dot. MMA-Sim has no exponents
// for E2M1 there; its format's least, 0, is taken for 0.5.
double MxFp4AsFp8Dot(const MxRow& a, const MxRow& b);

// Fp4ScaledDot with blocks of 16, times RNE_f32(g_a g_b) in f32 (as CUTLASS'
// alpha is used by vLLM; pytorch/ao rounds to the result format before it
// multiplies). g_a is of that row alone, so that rows do not depend on each
// other; g_b is of all B.
double NvFp4Dot(const NvFp4Row& a, const NvFp4Row& b);
double NvFp4(Values a, ValueMatrix b, size_t j);

// s_a (s_b sum), the sum exact and then rounded to f32, each product in f32:
// vLLM's scaled_mm_epilogues_c3x.hpp (ScaledEpilogue).
double Int8Dot(const Int8Row& a, const Int8Row& b);
double Int8(Values a, Values b);

// Slices of ceil(k / slices) products, the last ones shorter or none, each
// summed by `base`, rounded to `partial`, and added in f32 in ascending order.
double SplitK(size_t slices, const FloatFormat& partial, Values a, Values b,
              const std::function<double(Values, Values)>& base);

// Sums in f16: of f16 operands, the running sum is rounded after each product.
// kF32ThenF16 is an FMA in f32 whose result is rounded to f16, as ggml-cpu's
// ggml_vec_mad_f16 does on x86; kOnce is an FMA in f16 (HFMA). The two differ
// where f32 rounds to a tie.
enum class F16Rounding { kF32ThenF16, kOnce };
double F16AccumulatedDot(Values a, Values b,
                         F16Rounding rounding = F16Rounding::kF32ThenF16);

// Per 32: acc = RNE_f32(d_a sum(q w) + acc), rounded once; w the dequantised
// weights, f32 numbers. ggml sums integers, multiplies by RNE_f32(d_w d_a), and
// adds in as many partial sums as its SIMD code has lanes.
double Q8Dot(const Q8Row& a, Values weights);
// The same of weights that are multiples of a scale plus their block's minimum,
// `minima`: then acc = RNE_f32(minimum (s - d_a sum(q)) + acc), s being q8_1's.
double Q8Dot(const Q8Row& a, Values weights, Values minima);

}  // namespace ulpscope::engine_models

#endif  // TESTS_KERNELS_STRATEGY_ENGINE_MODELS_H_
