#ifndef KERNELS_OPS_BLOCK_LAYOUT_H_
#define KERNELS_OPS_BLOCK_LAYOUT_H_

#include <cstddef>
#include <cstdint>

namespace ulpscope {

// Outputs per panel (kernels/ops/panels.h). 32 bf16 fill a cache line; every
// target's vectors of f32 and f64 divide it.
inline constexpr size_t kPanelWidth = 32;

// Neighbours along k that panels of blocks keep together.
inline constexpr size_t kGroup = 32;

// How codes of blocks become values, and how a panel keeps them: what a kernel
// is made for. A panel has, for every block of k,
//   d of kPanelWidth rows; dmin of them, if there is one;
//   for every group of k:
//     s, then m, of each run: an int8 (uint8) of kPanelWidth rows each;
//     as many 32-bit words as a code has bits, of kPanelWidth rows each; a word
//     has neighbours in k from its lowest bit on. If two bits are left over,
//     the top ones, those of word w are bits 2w and 2w + 1 of the last two
//     codes. Signed bytes stand alone instead: kPanelWidth of them for every k.
struct BlockLayout {
  size_t elements;      // of a block: 32 or 256
  size_t run;           // of elements with one scale: 16 or 32
  int bits;             // of a code: 2 to 6, or 8 of a signed one
  int bias;             // is subtracted from codes
  const int8_t* table;  // 16 values of codes; or null
  bool has_run_scales;  // int8; runs of others have the scale 1
  bool has_min;         // with m, a uint8, where there are scales of runs
  bool is_wide;         // d is f32, not f16
  bool is_e4m3;  // codes of 8 bits are floats: FP8 E4M3 without infinities

  constexpr size_t header_bytes() const {
    return kPanelWidth * ((is_wide ? 4 : 2) + (has_min ? 2 : 0));
  }
  constexpr size_t scale_bytes() const {  // of a group
    return has_run_scales ? kPanelWidth * (kGroup / run) * (has_min ? 2 : 1)
                          : 0;
  }
  constexpr size_t group_bytes() const {
    return scale_bytes() + kPanelWidth * kGroup / 8 * static_cast<size_t>(bits);
  }
  // Of kPanelWidth blocks.
  constexpr size_t panel_bytes() const {
    return header_bytes() + elements / kGroup * group_bytes();
  }
};

// ggml's kvalues_iq4nl.
inline constexpr int8_t kIQ4Values[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// Twice the values of E2M1; ggml's kvalues_mxfp4.
inline constexpr int8_t kE2M1Values[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                           0, -1, -2, -3, -4, -6, -8, -12};

// The layouts of BlockTypes(), in their order: 32 elements with one scale, and
// 256 of which every run has one.
constexpr BlockLayout BlockOf32(int bits, int bias, bool has_min,
                                const int8_t* table = nullptr,
                                bool is_wide = false) {
  return {32, 32, bits, bias, table, false, has_min, is_wide, false};
}
constexpr BlockLayout BlockOf256(size_t run, int bits, int bias, bool has_min,
                                 const int8_t* table = nullptr) {
  return {256, run, bits, bias, table, true, has_min, false, false};
}

inline constexpr BlockLayout kQ4_0Layout = BlockOf32(4, 8, false);
inline constexpr BlockLayout kQ4_1Layout = BlockOf32(4, 0, true);
inline constexpr BlockLayout kQ5_0Layout = BlockOf32(5, 16, false);
inline constexpr BlockLayout kQ5_1Layout = BlockOf32(5, 0, true);
inline constexpr BlockLayout kQ8_0Layout = BlockOf32(8, 0, false);
inline constexpr BlockLayout kQ2_KLayout = BlockOf256(16, 2, 0, true);
inline constexpr BlockLayout kQ3_KLayout = BlockOf256(16, 3, 4, false);
inline constexpr BlockLayout kQ4_KLayout = BlockOf256(32, 4, 0, true);
inline constexpr BlockLayout kQ5_KLayout = BlockOf256(32, 5, 0, true);
inline constexpr BlockLayout kQ6_KLayout = BlockOf256(16, 6, 32, false);
inline constexpr BlockLayout kIQ4_NLLayout = BlockOf32(4, 0, false, kIQ4Values);
inline constexpr BlockLayout kIQ4_XSLayout =
    BlockOf256(32, 4, 0, false, kIQ4Values);
inline constexpr BlockLayout kMXFP4Layout =
    BlockOf32(4, 0, false, kE2M1Values, true);
// 128 along k of one scale, as Qwen3-*-FP8 has them.
inline constexpr BlockLayout kF8_E4M3Layout = {128,   32,    8,    0,   nullptr,
                                               false, false, true, true};

}  // namespace ulpscope

#endif  // KERNELS_OPS_BLOCK_LAYOUT_H_
