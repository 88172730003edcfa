#ifndef KERNELS_OPS_ENGINE_OPERANDS_H_
#define KERNELS_OPS_ENGINE_OPERANDS_H_

#include <algorithm>
#include <cstddef>

#include "hwy/base.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/engine.h"

namespace ulpscope {

// What the values of a quantised operand are.
enum class Code {
  kF32,
  kBF16,
  kF16,
  kTF32,
  kTF32Nearest,
  kE4M3,    // with f32 scales
  kMXE4M3,  // with powers of two
  kMXE2M1,
  kNVE2M1,  // with E4M3 scales, and an f32 one of the line or the tensor
  kInt8,
  kQ8_0,  // ggml's, with f16 scales
  kQ8_1,  // the same, and f16 sums of blocks, for B's with minima
  kQ8_K,  // ggml's, with f32 scales
};

// How one operand of an engine's MatMul is quantised: A, or B, whose lines are
// the rows of A and B.
struct OperandForm {
  Code code = Code::kF32;
  size_t block = 0;        // of k with one scale; 0: a whole line
  size_t tile_panels = 1;  // panels, side by side, that share scales
  bool of_tensor = false;  // the outer scale is that of the whole of B

  size_t Blocks(size_t k) const {
    return block == 0 ? 1 : hwy::DivCeil(k, block);
  }
};

inline constexpr size_t kE4M3Block = 128;
inline constexpr size_t kMXBlock = 32;
inline constexpr size_t kNVBlock = 16;

// Of A, or of a B that is made of activations.
OperandForm FormOfActivations(Quantizer quantizer, const PanelsView& b);
OperandForm FormOfB(Quantizer quantizer, const PanelsView& b);

}  // namespace ulpscope

#endif  // KERNELS_OPS_ENGINE_OPERANDS_H_
