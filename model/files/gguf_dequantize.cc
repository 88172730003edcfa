#include "model/files/gguf_dequantize.h"

#include "kernels/base/dtype.h"

namespace ulpscope {
namespace {

// IEEE binary16, little-endian, as f32 (exact).
float Half(const uint8_t* bytes) {
  double value = 0;
  Widen(DType::kF16, bytes, 1, 1, &value);
  return static_cast<float>(value);
}

// The 32 four-bit values of a legacy block: low nibbles first, then high ones.
int Nibble(const uint8_t* packed, int i) {
  return i < 16 ? packed[i] & 15 : packed[i - 16] >> 4;
}

// The fifth bits of a block's 32 values, one bit each.
int FifthBit(const uint8_t* packed, int i) {
  return packed[i / 8] >> (i % 8) & 1;
}

void DequantizeQ4_0(const uint8_t* block, float* out) {
  const float scale = Half(block);
  for (int i = 0; i < 32; ++i) {
    out[i] = scale * static_cast<float>(Nibble(block + 2, i) - 8);
  }
}

void DequantizeQ4_1(const uint8_t* block, float* out) {
  const float scale = Half(block);
  const float offset = Half(block + 2);
  for (int i = 0; i < 32; ++i) {
    out[i] = scale * static_cast<float>(Nibble(block + 4, i)) + offset;
  }
}

void DequantizeQ5_0(const uint8_t* block, float* out) {
  const float scale = Half(block);
  for (int i = 0; i < 32; ++i) {
    const int value = Nibble(block + 6, i) | FifthBit(block + 2, i) << 4;
    out[i] = scale * static_cast<float>(value - 16);
  }
}

void DequantizeQ5_1(const uint8_t* block, float* out) {
  const float scale = Half(block);
  const float offset = Half(block + 2);
  for (int i = 0; i < 32; ++i) {
    const int value = Nibble(block + 8, i) | FifthBit(block + 4, i) << 4;
    out[i] = scale * static_cast<float>(value) + offset;
  }
}

void DequantizeQ8_0(const uint8_t* block, float* out) {
  const float scale = Half(block);
  for (int i = 0; i < 32; ++i) {
    out[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
  }
}

// f16 scale, f16 scale of the offsets, 12 bytes of eight 6-bit scales and
// offsets, 128 bytes of nibbles. Scale and offset of runs 0 to 3 are the low
// six bits of bytes 0-3 and 4-7; those of runs 4 to 7 have their low four bits
// in the nibbles of bytes 8-11, and their high two atop bytes 0-3 and 4-7.
void DequantizeQ4_K(const uint8_t* block, float* out) {
  const float scale = Half(block);
  const float offset_scale = Half(block + 2);
  const uint8_t* packed = block + 4;
  const uint8_t* nibbles = block + 16;
  for (int run = 0; run < 8; ++run) {
    int scale_bits;
    int offset_bits;
    if (run < 4) {
      scale_bits = packed[run] & 63;
      offset_bits = packed[run + 4] & 63;
    } else {
      scale_bits = (packed[run + 4] & 15) | packed[run - 4] >> 6 << 4;
      offset_bits = packed[run + 4] >> 4 | packed[run] >> 6 << 4;
    }
    const float run_scale = scale * static_cast<float>(scale_bits);
    const float run_offset = offset_scale * static_cast<float>(offset_bits);
    // Runs 2j and 2j + 1 are the low and the high nibbles of 32 bytes.
    for (int i = 0; i < 32; ++i) {
      const int value = nibbles[run / 2 * 32 + i] >> (run % 2 * 4) & 15;
      out[run * 32 + i] = run_scale * static_cast<float>(value) - run_offset;
    }
  }
}

// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, f16 scale.
// Each half of the block is four runs of 32: their nibbles are the low (runs 0
// and 1) and the high ones (2 and 3) of 2 x 32 bytes, their bit pairs lie one
// above the other in 32 bytes.
void DequantizeQ6_K(const uint8_t* block, float* out) {
  const uint8_t* nibbles = block;
  const uint8_t* pairs = block + 128;
  const uint8_t* scales = block + 192;
  const float scale = Half(block + 208);
  for (int e = 0; e < 256; ++e) {
    const int half = e / 128;
    const int run = e % 128 / 32;
    const int i = e % 32;
    const int low = nibbles[half * 64 + run % 2 * 32 + i] >> (run / 2 * 4) & 15;
    const int high = pairs[half * 32 + i] >> (run * 2) & 3;
    const float sixteenth =
        scale * static_cast<float>(static_cast<int8_t>(scales[e / 16]));
    out[e] = sixteenth * static_cast<float>((low | high << 4) - 32);
  }
}

constexpr GgmlType kTypes[] = {
    {0, "F32", 1, 4, DType::kF32, nullptr},
    {1, "F16", 1, 2, DType::kF16, nullptr},
    {2, "Q4_0", 32, 18, std::nullopt, DequantizeQ4_0},
    {3, "Q4_1", 32, 20, std::nullopt, DequantizeQ4_1},
    {6, "Q5_0", 32, 22, std::nullopt, DequantizeQ5_0},
    {7, "Q5_1", 32, 24, std::nullopt, DequantizeQ5_1},
    {8, "Q8_0", 32, 34, std::nullopt, DequantizeQ8_0},
    {10, "Q2_K", 256, 84, std::nullopt, nullptr},
    {11, "Q3_K", 256, 110, std::nullopt, nullptr},
    {12, "Q4_K", 256, 144, std::nullopt, DequantizeQ4_K},
    {13, "Q5_K", 256, 176, std::nullopt, nullptr},
    {14, "Q6_K", 256, 210, std::nullopt, DequantizeQ6_K},
    {16, "IQ2_XXS", 256, 66, std::nullopt, nullptr},
    {17, "IQ2_XS", 256, 74, std::nullopt, nullptr},
    {18, "IQ3_XXS", 256, 98, std::nullopt, nullptr},
    {19, "IQ1_S", 256, 50, std::nullopt, nullptr},
    {20, "IQ4_NL", 32, 18, std::nullopt, nullptr},
    {21, "IQ3_S", 256, 110, std::nullopt, nullptr},
    {22, "IQ2_S", 256, 82, std::nullopt, nullptr},
    {23, "IQ4_XS", 256, 136, std::nullopt, nullptr},
    {24, "I8", 1, 1, std::nullopt, nullptr},
    {25, "I16", 1, 2, std::nullopt, nullptr},
    {26, "I32", 1, 4, std::nullopt, nullptr},
    {27, "I64", 1, 8, std::nullopt, nullptr},
    {28, "F64", 1, 8, std::nullopt, nullptr},
    {29, "IQ1_M", 256, 56, std::nullopt, nullptr},
    {30, "BF16", 1, 2, DType::kBF16, nullptr},
    {34, "TQ1_0", 256, 54, std::nullopt, nullptr},
    {35, "TQ2_0", 256, 66, std::nullopt, nullptr},
    {39, "MXFP4", 32, 17, std::nullopt, nullptr},
};

}  // namespace

absl::Span<const GgmlType> GgmlTypes() { return kTypes; }

const GgmlType* FindGgmlType(uint32_t id) {
  for (const GgmlType& type : kTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

}  // namespace ulpscope
