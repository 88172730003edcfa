#ifndef KERNELS_OPS_BLOCK_LAYOUTS_H_
#define KERNELS_OPS_BLOCK_LAYOUTS_H_

#include <cstdint>

#include "kernels/ops/block_type.h"

namespace ulpscope {

// The layouts of BlockTypes(), in their order. Fields: elements, run, low bits,
// high bits, bias, table, scales of runs, min, wide d.

// ggml's kvalues_iq4nl.
inline constexpr int8_t kIQ4Values[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// Twice the values of E2M1; ggml's kvalues_mxfp4.
inline constexpr int8_t kE2M1Values[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                           0, -1, -2, -3, -4, -6, -8, -12};

inline constexpr BlockType::Layout kQ4_0Layout = {
    32, 32, 4, 0, 8, nullptr, false, false, false};
inline constexpr BlockType::Layout kQ4_1Layout = {32,      32,    4,    0,    0,
                                                  nullptr, false, true, false};
inline constexpr BlockType::Layout kQ5_0Layout = {
    32, 32, 4, 1, 16, nullptr, false, false, false};
inline constexpr BlockType::Layout kQ5_1Layout = {32,      32,    4,    1,    0,
                                                  nullptr, false, true, false};
inline constexpr BlockType::Layout kQ8_0Layout = {
    32, 32, 8, 0, 0, nullptr, false, false, false};
inline constexpr BlockType::Layout kQ2_KLayout = {256,     16,   2,    0,    0,
                                                  nullptr, true, true, false};
inline constexpr BlockType::Layout kQ3_KLayout = {256,     16,   2,     1,    4,
                                                  nullptr, true, false, false};
inline constexpr BlockType::Layout kQ4_KLayout = {256,     32,   4,    0,    0,
                                                  nullptr, true, true, false};
inline constexpr BlockType::Layout kQ5_KLayout = {256,     32,   4,    1,    0,
                                                  nullptr, true, true, false};
inline constexpr BlockType::Layout kQ6_KLayout = {
    256, 16, 4, 2, 32, nullptr, true, false, false};
inline constexpr BlockType::Layout kIQ4_NLLayout = {
    32, 32, 4, 0, 0, kIQ4Values, false, false, false};
inline constexpr BlockType::Layout kIQ4_XSLayout = {
    256, 32, 4, 0, 0, kIQ4Values, true, false, false};
inline constexpr BlockType::Layout kMXFP4Layout = {
    32, 32, 4, 0, 0, kE2M1Values, false, false, true};

}  // namespace ulpscope

#endif  // KERNELS_OPS_BLOCK_LAYOUTS_H_
