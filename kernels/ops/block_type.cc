#include "kernels/ops/block_type.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "hwy/base.h"
#include "kernels/ops/block_layout.h"

namespace ulpscope {
namespace {

uint16_t Half(const uint8_t* bytes) {
  return static_cast<uint16_t>(bytes[0] | bytes[1] << 8);
}

float ValueOfHalf(uint16_t bits) {
  return hwy::F32FromF16(hwy::float16_t::FromBits(bits));
}

// Blocks of 32 with four bits a code: low nibbles first, then high ones.
void UnpackNibbles(const uint8_t* packed, uint8_t* codes) {
  for (size_t i = 0; i < 16; ++i) {
    codes[i] = packed[i] & 15;
    codes[i + 16] = packed[i] >> 4;
  }
}

// The fifth bits of 32 codes, one bit each.
void UnpackFifthBits(const uint8_t* packed, uint8_t* codes) {
  for (size_t i = 0; i < 32; ++i) {
    codes[i] |= static_cast<uint8_t>((packed[i / 8] >> (i % 8) & 1) << 4);
  }
}

// d * q + m is d * q - (-m), with the same bits.
void UnpackScaleAndOffset(const uint8_t* block, UnpackedBlock& out) {
  out.d = Half(block);
  out.min = Half(block + 2) ^ 0x8000;
}

void UnpackQ4_0(const uint8_t* block, UnpackedBlock& out) {
  out.d = Half(block);
  UnpackNibbles(block + 2, out.codes);
}

void UnpackQ4_1(const uint8_t* block, UnpackedBlock& out) {
  UnpackScaleAndOffset(block, out);
  UnpackNibbles(block + 4, out.codes);
}

void UnpackQ5_0(const uint8_t* block, UnpackedBlock& out) {
  out.d = Half(block);
  UnpackNibbles(block + 6, out.codes);
  UnpackFifthBits(block + 2, out.codes);
}

void UnpackQ5_1(const uint8_t* block, UnpackedBlock& out) {
  UnpackScaleAndOffset(block, out);
  UnpackNibbles(block + 8, out.codes);
  UnpackFifthBits(block + 4, out.codes);
}

void UnpackQ8_0(const uint8_t* block, UnpackedBlock& out) {
  out.d = Half(block);
  std::memcpy(out.codes, block + 2, 32);
}

// A byte's exponent, halved: what ggml's table of values is twice too large.
void UnpackMXFP4(const uint8_t* block, UnpackedBlock& out) {
  const uint32_t e = block[0];
  out.d = e < 2 ? 0x00200000u << e : (e - 1) << 23;
  UnpackNibbles(block + 1, out.codes);
}

// Blocks of 256 keep two bits of their codes in two runs of 32 bytes, which
// have one of the four 32 elements of their half each from bit 0 on.
uint8_t BitPair(const uint8_t* packed, size_t e) {
  return packed[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3;
}

// 16 bytes, scale and min of a run in the low and the high nibble, 64 bytes of
// bit pairs, d, dmin.
void UnpackQ2_K(const uint8_t* block, UnpackedBlock& out) {
  for (size_t run = 0; run < 16; ++run) {
    out.scales[run] = static_cast<int8_t>(block[run] & 15);
    out.mins[run] = block[run] >> 4;
  }
  for (size_t e = 0; e < 256; ++e) out.codes[e] = BitPair(block + 16, e);
  out.d = Half(block + 80);
  out.min = Half(block + 82);
}

// 32 bytes of third bits, run by run from bit 0 on, 64 of bit pairs, 12 of
// 16 scales of six bits, d. Their low four bits are the nibbles of bytes 0 to
// 7, the low ones first, and the others lie in bytes 8 to 11, as bit pairs.
void UnpackQ3_K(const uint8_t* block, UnpackedBlock& out) {
  const uint8_t* packed = block + 96;
  for (size_t run = 0; run < 16; ++run) {
    const int low = packed[run % 8] >> (run / 8 * 4) & 15;
    const int high = packed[8 + run % 4] >> (run / 4 * 2) & 3;
    out.scales[run] = static_cast<int8_t>((low | high << 4) - 32);
  }
  for (size_t e = 0; e < 256; ++e) {
    const int third = block[e % 32] >> (e / 32) & 1;
    out.codes[e] = static_cast<uint8_t>(BitPair(block + 32, e) | third << 2);
  }
  out.d = Half(block + 108);
}

// The 12 bytes of eight 6-bit scales and mins that Q4_K and Q5_K have: those of
// runs 0 to 3 are the low six bits of bytes 0-3 and 4-7; those of runs 4 to 7
// have their low four bits in the nibbles of bytes 8-11, and their high two
// atop bytes 0-3 and 4-7.
void UnpackSixBitScales(const uint8_t* packed, UnpackedBlock& out) {
  for (size_t run = 0; run < 8; ++run) {
    if (run < 4) {
      out.scales[run] = static_cast<int8_t>(packed[run] & 63);
      out.mins[run] = packed[run + 4] & 63;
    } else {
      out.scales[run] = static_cast<int8_t>((packed[run + 4] & 15) |
                                            packed[run - 4] >> 6 << 4);
      out.mins[run] =
          static_cast<uint8_t>(packed[run + 4] >> 4 | packed[run] >> 6 << 4);
    }
  }
}

// Runs 2j and 2j + 1 are the low and the high nibbles of 32 bytes.
void UnpackRunsOfNibbles(const uint8_t* nibbles, uint8_t* codes) {
  for (size_t e = 0; e < 256; ++e) {
    codes[e] = nibbles[e / 64 * 32 + e % 32] >> (e / 32 % 2 * 4) & 15;
  }
}

// d, dmin, scales, 128 bytes of nibbles.
void UnpackQ4_K(const uint8_t* block, UnpackedBlock& out) {
  out.d = Half(block);
  out.min = Half(block + 2);
  UnpackSixBitScales(block + 4, out);
  UnpackRunsOfNibbles(block + 16, out.codes);
}

// d, dmin, scales, 32 bytes of fifth bits, run by run from bit 0 on, 128 bytes
// of nibbles.
void UnpackQ5_K(const uint8_t* block, UnpackedBlock& out) {
  out.d = Half(block);
  out.min = Half(block + 2);
  UnpackSixBitScales(block + 4, out);
  UnpackRunsOfNibbles(block + 48, out.codes);
  for (size_t e = 0; e < 256; ++e) {
    const int fifth = block[16 + e % 32] >> (e / 32) & 1;
    out.codes[e] |= static_cast<uint8_t>(fifth << 4);
  }
}

// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d. Each
// half of the block is four runs of 32: their nibbles are the low (runs 0 and
// 1) and the high ones (2 and 3) of 2 x 32 bytes.
void UnpackQ6_K(const uint8_t* block, UnpackedBlock& out) {
  for (size_t e = 0; e < 256; ++e) {
    const size_t run = e % 128 / 32;
    const uint8_t byte = block[e / 128 * 64 + run % 2 * 32 + e % 32];
    out.codes[e] = static_cast<uint8_t>((byte >> (run / 2 * 4) & 15) |
                                        BitPair(block + 128, e) << 4);
  }
  std::memcpy(out.scales, block + 192, 16);
  out.d = Half(block + 208);
}

// d, 16 bits with the high two of eight scales of six bits, 4 bytes with their
// nibbles, 128 bytes of nibbles in eight runs, each as in blocks of 32.
void UnpackIQ4_XS(const uint8_t* block, UnpackedBlock& out) {
  out.d = Half(block);
  const unsigned high = Half(block + 2);
  for (size_t run = 0; run < 8; ++run) {
    const unsigned low = block[4 + run / 2] >> (run % 2 * 4) & 15u;
    out.scales[run] = static_cast<int8_t>(
        static_cast<int>(low | (high >> (2 * run) & 3) << 4) - 32);
    UnpackNibbles(block + 8 + 16 * run, out.codes + 32 * run);
  }
}

// d, an f32, and 128 codes: not a type of ggml, but what a loader makes of FP8
// weights and their scales.
void UnpackF8_E4M3(const uint8_t* block, UnpackedBlock& out) {
  std::memcpy(&out.d, block, 4);
  std::memcpy(out.codes, block + 4, 128);
}

constexpr BlockType kTypes[] = {
    {"Q4_0", 18, kQ4_0Layout, UnpackQ4_0},
    {"Q4_1", 20, kQ4_1Layout, UnpackQ4_1},
    {"Q5_0", 22, kQ5_0Layout, UnpackQ5_0},
    {"Q5_1", 24, kQ5_1Layout, UnpackQ5_1},
    {"Q8_0", 34, kQ8_0Layout, UnpackQ8_0},
    {"Q2_K", 84, kQ2_KLayout, UnpackQ2_K},
    {"Q3_K", 110, kQ3_KLayout, UnpackQ3_K},
    {"Q4_K", 144, kQ4_KLayout, UnpackQ4_K},
    {"Q5_K", 176, kQ5_KLayout, UnpackQ5_K},
    {"Q6_K", 210, kQ6_KLayout, UnpackQ6_K},
    {"IQ4_NL", 18, kIQ4_NLLayout, UnpackQ4_0},
    {"IQ4_XS", 136, kIQ4_XSLayout, UnpackIQ4_XS},
    {"MXFP4", 17, kMXFP4Layout, UnpackMXFP4},
    {"F8_E4M3", 132, kF8_E4M3Layout, UnpackF8_E4M3},
};

// A sign, four bits of exponent (bias 7), three of mantissa (Micikevicius et
// al. 2022); the largest magnitude is NaN.
float ValueOfE4M3(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                  : std::ldexp(static_cast<float>(8 + mantissa),
                                               exponent - 10);
  if ((code & 127) == 127) magnitude = std::nanf("");
  return code >> 7 != 0 ? -magnitude : magnitude;
}

float ValueOf(const BlockLayout& layout, uint8_t code) {
  if (layout.is_e4m3) return ValueOfE4M3(code);
  return static_cast<float>(layout.bits == 8 ? static_cast<int8_t>(code)
                            : layout.table != nullptr ? layout.table[code]
                                                      : code - layout.bias);
}

// Codes of a group, in words of kPanelWidth rows.
void PackWords(const uint8_t* codes, size_t bits, size_t row, uint8_t* words) {
  const size_t per_word = 32 / bits;
  const uint32_t last_two =
      codes[kGroup - 2] | static_cast<uint32_t>(codes[kGroup - 1]) << bits;
  for (size_t w = 0; w < bits; ++w) {
    uint32_t word = 0;
    for (size_t i = 0; i < per_word; ++i) {
      word |= static_cast<uint32_t>(codes[w * per_word + i]) << (i * bits);
    }
    if (32 % bits != 0) word |= (last_two >> (2 * w) & 3) << 30;
    std::memcpy(words + (w * kPanelWidth + row) * 4, &word, 4);
  }
}

// The group `g` of a block, which is row `row` of the panel.
void PackGroup(const BlockLayout& layout, const UnpackedBlock& block, size_t g,
               size_t row, uint8_t* to) {
  const size_t runs = kGroup / layout.run;
  if (layout.has_run_scales) {
    for (size_t run = 0; run < runs; ++run) {
      const size_t from = g * runs + run;
      to[run * kPanelWidth + row] = static_cast<uint8_t>(block.scales[from]);
      if (layout.has_min) {
        to[(runs + run) * kPanelWidth + row] = block.mins[from];
      }
    }
  }
  uint8_t* const words = to + layout.scale_bytes();
  const uint8_t* const codes = block.codes + g * kGroup;
  if (layout.bits == 8) {
    for (size_t i = 0; i < kGroup; ++i) words[i * kPanelWidth + row] = codes[i];
    return;
  }
  PackWords(codes, static_cast<size_t>(layout.bits), row, words);
}

}  // namespace

absl::Span<const BlockType> BlockTypes() { return kTypes; }

const BlockType* FindBlockType(absl::string_view name) {
  for (const BlockType& type : kTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

void Dequantize(const BlockType& type, const uint8_t* block, float* out) {
  const BlockLayout& layout = type.layout;
  UnpackedBlock unpacked;
  type.unpack(block, unpacked);
  float d;
  if (layout.is_wide) {
    std::memcpy(&d, &unpacked.d, sizeof(d));
  } else {
    d = ValueOfHalf(static_cast<uint16_t>(unpacked.d));
  }
  const float min = ValueOfHalf(unpacked.min);
  for (size_t e = 0; e < layout.elements; ++e) {
    const size_t run = e / layout.run;
    const float scale = layout.has_run_scales
                            ? d * static_cast<float>(unpacked.scales[run])
                            : d;
    const float value = scale * ValueOf(layout, unpacked.codes[e]);
    const float run_min = layout.has_run_scales
                              ? min * static_cast<float>(unpacked.mins[run])
                              : min;
    out[e] = layout.has_min ? value - run_min : value;
  }
}

void PackBlocks(const BlockType& type, const uint8_t* blocks, size_t rows,
                size_t stride, uint8_t* panel) {
  const BlockLayout& layout = type.layout;
  if (rows < kPanelWidth) std::memset(panel, 0, type.layout.panel_bytes());
  for (size_t row = 0; row < rows; ++row) {
    UnpackedBlock block;
    type.unpack(blocks + row * stride, block);
    const size_t d_bytes = layout.is_wide ? 4 : 2;
    std::memcpy(panel + row * d_bytes, &block.d, d_bytes);
    if (layout.has_min) {
      std::memcpy(panel + kPanelWidth * d_bytes + row * 2, &block.min, 2);
    }
    for (size_t g = 0; g < layout.elements / kGroup; ++g) {
      PackGroup(layout, block, g, row,
                panel + layout.header_bytes() + g * layout.group_bytes());
    }
  }
}

}  // namespace ulpscope
