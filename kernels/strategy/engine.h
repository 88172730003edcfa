#ifndef KERNELS_STRATEGY_ENGINE_H_
#define KERNELS_STRATEGY_ENGINE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/base/format.h"

namespace ulpscope {

// How an engine's operands are quantised before they are multiplied. A row is
// one of A or of B (an output's weights), k its direction.
enum class Quantizer {
  kNone,         // f32 as they are
  kBF16,         // to nearest
  kF16,          // to nearest
  kTF32,         // truncated to 10 bits
  kTF32Nearest,  // to nearest, ties away from zero (cvt.rna.tf32.f32)
  kE4M3,         // FP8, a scale per row
  kE4M3Blocks,   // FP8, a scale per 128 of a row; of weights per 128 x 128
  kMXFP8,        // E4M3 in blocks of 32 with a power of two
  kMXFP4,        // E2M1 likewise
  kNVFP4,  // E2M1 in blocks of 16 with an E4M3 scale, and one of the tensor
  kInt8,   // a scale per row
  kGgml,   // A alone, to what ggml's CPU backend takes for B's stored type
};

// How products are added.
enum class Accumulator {
  kFma,         // one f32 FMA per product
  kTensorCore,  // steps of TC(N, P, K)
  kBlocks,      // exact sums of blocks, then f32; ggml's kFma without blocks
};

// What a strategy computes that no vector instruction does in one: the exact
// arithmetic of a tensor core, or of sums of quantised blocks. Its values are
// those of the engine; its time on this CPU says nothing of the engine's.
//
// TC(N, P, K), one step of a tensor core (arXiv 2511.10909 and 2512.07004;
// microsoft/MMA-Sim): of K products and the sum so far, each with its exponent
// (the sum of the operands' own), each is cut off at 2^-N of the largest
// exponent's power of two; what remains is added exactly, and cut off at P
// fraction bits.
struct Engine {
  Quantizer quantizer = Quantizer::kNone;
  Accumulator accumulator = Accumulator::kFma;
  int align_bits = 0;     // N
  int result_bits = 0;    // P
  size_t step_terms = 0;  // K
  // After so many products the sum is multiplied by the operands' scales, added
  // to an f32 sum by an FMA, and begun anew; 0: never.
  size_t promoted = 0;
  // k is divided into as many neighbouring parts, whose sums are added in
  // order, each rounded to `part`.
  size_t parts = 1;
  Format part = Format::kF32;
  // Whether the running sum of kFma is rounded to f16 after every product.
  bool f16_sums = false;
  // Of results that are rounded to bf16 at random (kernels/strategy/philox.h);
  // 0: to nearest.
  uint64_t seed = 0;
};

}  // namespace ulpscope

#endif  // KERNELS_STRATEGY_ENGINE_H_
