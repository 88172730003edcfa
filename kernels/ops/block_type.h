#ifndef KERNELS_OPS_BLOCK_TYPE_H_
#define KERNELS_OPS_BLOCK_TYPE_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

// Outputs per panel (kernels/ops/panels.h). 32 bf16 fill a cache line; every
// target's vectors of f32 and f64 divide it.
inline constexpr size_t kPanelWidth = 32;

// Types that store weights in blocks along k: small integers, the codes, with
// scales that some of them share. The value of a code is
//   (d * s) * v(code) - dmin * m,
// d and dmin of the block, s and m of a run within it, v(code) the code less a
// bias, or an element of a table. All are those of ggml's dequantize_row_*, bit
// for bit: the products are exact in f32 (11 bits of an f16, at most 8 of s and
// of v), so that they may be multiplied in any order, and the difference is
// rounded once.
struct BlockType {
  // How codes become values, and how a panel keeps them: what a kernel is made
  // for. Several types share one layout.
  struct Layout {
    size_t elements;  // of a block: 32 or 256
    size_t run;       // of elements with one scale: 16 or 32
    int low_bits;     // of a code, the lower ones: 2 or 4, or 8 of a signed one
    int high_bits;    // further ones, which are stored apart: 0, 1 or 2
    int bias;         // is subtracted from codes
    const int8_t* table;  // 16 values of codes; or null
    bool has_run_scales;  // int8; runs of others have the scale 1
    bool has_min;         // with m, a uint8, where there are scales of runs
    bool is_wide;         // d is f32, not f16
  };

  absl::string_view name;  // as ggml has it: "Q4_K"
  size_t bytes;            // of a block in a file
  Layout layout;
  void (*unpack)(const uint8_t* block, struct UnpackedBlock& out);

  // Bytes of kPanelWidth blocks side by side in a panel.
  size_t PanelBytes() const;
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

// A panel of blocks, as kernels read it: for every block of k
//   d of kPanelWidth rows; dmin of them, if there is one;
//   for every 32 of k:
//     s, then m, of each run: an int8 (uint8) of kPanelWidth rows each;
//     low, then high bits: 32-bit words of kPanelWidth rows each, of which
//     every one has neighbours in k from its lowest bit on. Signed bytes stand
//     alone: kPanelWidth of them for every k.
// `rows` blocks, `stride` bytes apart, fill the first rows; others are zero.
void PackBlocks(const BlockType& type, const uint8_t* blocks, size_t rows,
                size_t stride, uint8_t* panel);

// Of one group of 32 k within that.
inline constexpr size_t kGroup = 32;

constexpr size_t BlockHeaderBytes(const BlockType::Layout& layout) {
  return kPanelWidth * ((layout.is_wide ? 4 : 2) + (layout.has_min ? 2 : 0));
}
constexpr size_t BlockScaleBytes(const BlockType::Layout& layout) {
  const size_t runs = kGroup / layout.run;
  return layout.has_run_scales ? kPanelWidth * runs * (layout.has_min ? 2 : 1)
                               : 0;
}
constexpr size_t BlockGroupBytes(const BlockType::Layout& layout) {
  return BlockScaleBytes(layout) +
         kPanelWidth * kGroup / 8 *
             static_cast<size_t>(layout.low_bits + layout.high_bits);
}

}  // namespace ulpscope

#endif  // KERNELS_OPS_BLOCK_TYPE_H_
