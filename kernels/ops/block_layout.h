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
//     low, then high bits: 32-bit words of kPanelWidth rows each, of which
//     every one has neighbours in k from its lowest bit on. Signed bytes stand
//     alone: kPanelWidth of them for every k.
struct BlockLayout {
  size_t elements;  // of a block: 32 or 256
  size_t run;       // of elements with one scale: 16 or 32
  int low_bits;     // of a code, the lower ones: 2 or 4, or 8 of a signed one
  int high_bits;    // further ones, which are stored apart: 0, 1 or 2
  int bias;         // is subtracted from codes
  const int8_t* table;  // 16 values of codes; or null
  bool has_run_scales;  // int8; runs of others have the scale 1
  bool has_min;         // with m, a uint8, where there are scales of runs
  bool is_wide;         // d is f32, not f16

  constexpr size_t header_bytes() const {
    return kPanelWidth * ((is_wide ? 4 : 2) + (has_min ? 2 : 0));
  }
  constexpr size_t scale_bytes() const {  // of a group
    return has_run_scales ? kPanelWidth * (kGroup / run) * (has_min ? 2 : 1)
                          : 0;
  }
  constexpr size_t group_bytes() const {
    return scale_bytes() +
           kPanelWidth * kGroup / 8 * static_cast<size_t>(low_bits + high_bits);
  }
  // Of kPanelWidth blocks.
  constexpr size_t panel_bytes() const {
    return header_bytes() + elements / kGroup * group_bytes();
  }
};

// The layouts of BlockTypes(), in their order. Fields: elements, run, low bits,
// high bits, bias, table, scales of runs, min, wide d.

// ggml's kvalues_iq4nl.
inline constexpr int8_t kIQ4Values[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// Twice the values of E2M1; ggml's kvalues_mxfp4.
inline constexpr int8_t kE2M1Values[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                           0, -1, -2, -3, -4, -6, -8, -12};

inline constexpr BlockLayout kQ4_0Layout = {32,      32,    4,     0,    8,
                                            nullptr, false, false, false};
inline constexpr BlockLayout kQ4_1Layout = {32,      32,    4,    0,    0,
                                            nullptr, false, true, false};
inline constexpr BlockLayout kQ5_0Layout = {32,      32,    4,     1,    16,
                                            nullptr, false, false, false};
inline constexpr BlockLayout kQ5_1Layout = {32,      32,    4,    1,    0,
                                            nullptr, false, true, false};
inline constexpr BlockLayout kQ8_0Layout = {32,      32,    8,     0,    0,
                                            nullptr, false, false, false};
inline constexpr BlockLayout kQ2_KLayout = {256,     16,   2,    0,    0,
                                            nullptr, true, true, false};
inline constexpr BlockLayout kQ3_KLayout = {256,     16,   2,     1,    4,
                                            nullptr, true, false, false};
inline constexpr BlockLayout kQ4_KLayout = {256,     32,   4,    0,    0,
                                            nullptr, true, true, false};
inline constexpr BlockLayout kQ5_KLayout = {256,     32,   4,    1,    0,
                                            nullptr, true, true, false};
inline constexpr BlockLayout kQ6_KLayout = {256,     16,   4,     2,    32,
                                            nullptr, true, false, false};
inline constexpr BlockLayout kIQ4_NLLayout = {32,         32,    4,     0,    0,
                                              kIQ4Values, false, false, false};
inline constexpr BlockLayout kIQ4_XSLayout = {256,        32,   4,     0,    0,
                                              kIQ4Values, true, false, false};
inline constexpr BlockLayout kMXFP4Layout = {32,          32,    4,     0,   0,
                                             kE2M1Values, false, false, true};

}  // namespace ulpscope

#endif  // KERNELS_OPS_BLOCK_LAYOUT_H_
