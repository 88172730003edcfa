#ifndef TESTS_KERNELS_STRATEGY_ENGINE_QUANTIZERS_H_
#define TESTS_KERNELS_STRATEGY_ENGINE_QUANTIZERS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "tests/kernels/strategy/engine_formats.h"

namespace ulpscope::engine_models {

// What inference engines turn the operands of a matmul into. x holds finite f32
// numbers, as doubles, of a row along k unless said otherwise. "f32" below:
// that one operation's result is rounded to f32 (to nearest even). A last block
// that k leaves shorter is quantised by what it has; zeros added to it would
// change nothing.
//
// NaN or an infinity in a block makes that block's scale NaN, and with it every
// sum that the block is in. Of the sources only OCP MX says so (its E8M0 has a
// NaN); CUDA's fmaxf, for one, skips NaN.

using Values = absl::Span<const double>;
using ValueMatrix = Matrix<const double>;  // B: n x k

// E4M3 with an f32 scale per block: x is about values[i] * scales[i / block].
struct Fp8Row {
  size_t block;
  std::vector<double> values;
  std::vector<double> scales;
};
struct Fp8Weights {
  size_t block;                // in both directions
  ValueMatrix shape;           // n and k; its data are not used
  std::vector<double> values;  // n x k
  std::vector<double> scales;  // ceil(n / block) x ceil(k / block)

  Fp8Row Row(size_t j) const;
};

// Of a block: s = max(amax, 1e-4) / 448 in f32, q = RNE_e4m3(x (1 / s)), the
// quotient and the product in f32. DeepGEMM's deep_gemm/utils/math.py:
// per_token_cast_to_fp8 (1 x 128) and per_block_cast_to_fp8 (128 x 128).
// The same elsewhere: vLLM's per_token_group_quant.cu divides, x / s, with
// amax >= 1e-10; sglang's per_token_group_quant_8bit.cu has s = amax (1 / 448)
// and q = x (448 / amax), 1e-10. PyTorch on CUDA also multiplies by 1 / 448
// where math.py divides by the number 448.0.
Fp8Row QuantizeFp8(Values x, size_t block = 128);
Fp8Weights QuantizeFp8Weights(ValueMatrix b, size_t block = 128);

// Elements with a power of two per 32, or NaN: OCP MX v1.0, section 6.3, also
// pytorch/ao's mx_tensor.py (ScaleCalculationMode.FLOOR). The exponent is
// floor(log2 amax) - emax, clamped to E8M0's [-127, 127]; for amax = 0 it is
// -127. x / X is rounded once, saturating.
struct MxRow {
  FloatFormat element;
  std::vector<double> values;
  std::vector<double> scales;
};
MxRow QuantizeMxFp8(Values x);  // E4M3, emax 8
MxRow QuantizeMxFp4(Values x);  // E2M1, emax 2

// E2M1 with an E4M3 scale per 16 and one f32 scale above them. pytorch/ao's
// nvfp4_tensor.py: g = amax / (448 * 6), s = RNE_e4m3(clamp(amax_16 / 6 / g,
// 2^-6, 448)), q = RNE_e2m1(clamp(x ((1 / g) / s), -6, 6)), each operation in
// f32. Not x / (g s): its authors multiply by the reciprocal to agree with
// MSLK's kernel. Where amax is 0, ao has 0 / 0; here s is 2^-6 and q is 0.
struct NvFp4Row {
  std::vector<double> values;
  std::vector<double> scales;
  double global;
};
double NvFp4Global(ValueMatrix all);  // of a row of A, or of all of B
NvFp4Row QuantizeNvFp4(Values x, double global);

// q = RNE(x (127 / amax)), s = amax / 127, in f32: vLLM's int8_quant_kernels.cu
// (dynamic_scaled_int8_quant_kernel), here for rows of A and of B. amax = 0
// gives s = 0 and q = 0. Checkpoints of llm-compressor have s = amax / 127.5
// and q = RNE(x / s) for weights, which this does not follow.
struct Int8Row {
  std::vector<int> values;
  double scale;
};
Int8Row QuantizeInt8(Values x);

// What ggml's CPU backend makes of activations.
struct Q8Row {
  size_t block;
  std::vector<int> values;
  std::vector<double> scales;
  std::vector<double> sums;  // of a block's values, as q8_1 keeps them
};
// q8_0 and q8_1, per 32: d = amax / 127, q = RNE(x (127 / amax)), in f32; what
// is kept is RNE_f16(d), and of q8_1 RNE_f16(d sum q). amax = 0 gives q = 0.
// ggml-cpu/arch/x86/quants.c, quantize_row_q8_0 and quantize_row_q8_1. (The
// portable quantize_row_q8_0_ref has x (1 / d) and halves away from zero.)
Q8Row QuantizeQ8(Values x);
// q8_K, per 256: i = -127 / m of the first x of largest magnitude, m, and q =
// min(127, RNE(i x)), d = 1 / i, in f32. ggml-quants.c, quantize_row_q8_K_ref.
Q8Row QuantizeQ8K(Values x);

// Philox4x32-10 (Salmon et al. 2011), the key's low word first.
std::array<uint32_t, 4> Philox(uint64_t key, std::array<uint32_t, 4> counter);

// An f32 number rounded stochastically to bf16: (bits + r) & 0xFFFF0000, r the
// low 16 bits of Philox's first word. bf16 numbers and infinities stay, and so
// does NaN (quiet), whose bits the sum would carry into the sign.
double RoundStochasticallyToBf16(double x, uint64_t seed,
                                 std::array<uint32_t, 4> counter);

}  // namespace ulpscope::engine_models

#endif  // TESTS_KERNELS_STRATEGY_ENGINE_QUANTIZERS_H_
