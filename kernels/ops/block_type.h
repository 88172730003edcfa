#ifndef KERNELS_OPS_BLOCK_TYPE_H_
#define KERNELS_OPS_BLOCK_TYPE_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/ops/block_layout.h"

namespace ulpscope {

// Types that store weights in blocks along k: small integers, the codes, with
// scales that some of them share. The value of a code is
//   (d * s) * v(code) - dmin * m,
// d and dmin of the block, s and m of a run within it, v(code) the code less a
// bias, or an element of a table. All are those of ggml's dequantize_row_*, bit
// for bit: the products are exact in f32 (11 bits of an f16, at most 8 of s and
// of v), so that they may be multiplied in any order, and the difference is
// rounded once. (F8_E4M3 has an f32 d, by which a product is rounded once.)
struct BlockType {
  absl::string_view name;  // as ggml, or safetensors, has it: "Q4_K"
  size_t bytes;            // of a block in a file
  BlockLayout layout;
  void (*unpack)(const uint8_t* block, struct UnpackedBlock& out);
};

// A block with its fields apart.
struct UnpackedBlock {
  uint32_t d = 0;    // bits of an f16, or of an f32 if the type is wide
  uint16_t min = 0;  // dmin, bits of an f16
  int8_t scales[16] = {};
  uint8_t mins[16] = {};
  uint8_t codes[256] = {};  // unsigned, before the bias; or a signed byte
};

absl::Span<const BlockType> BlockTypes();

// By ggml's name; null if there is none.
const BlockType* FindBlockType(absl::string_view name);

// The values of a block: layout.elements of them.
void Dequantize(const BlockType& type, const uint8_t* block, float* out);

// Puts blocks side by side into a panel, as its layout says: `rows` of them,
// `stride` bytes apart, fill the first rows; others are zero.
void PackBlocks(const BlockType& type, const uint8_t* blocks, size_t rows,
                size_t stride, uint8_t* panel);

}  // namespace ulpscope

#endif  // KERNELS_OPS_BLOCK_TYPE_H_
