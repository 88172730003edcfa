#ifndef TESTS_KERNELS_STRATEGY_ENGINE_FORMATS_H_
#define TESTS_KERNELS_STRATEGY_ENGINE_FORMATS_H_

#include "absl/strings/string_view.h"

namespace ulpscope::engine_models {

// A binary floating-point format: 1 + fraction_bits of precision from
// 2^least_exponent on, and below it (its subnormals) multiples of
// 2^(least_exponent - fraction_bits). Numbers of all formats are passed as
// doubles, which hold each of them exactly.
struct FloatFormat {
  absl::string_view name;
  int fraction_bits;
  int least_exponent;
  double largest;
  bool has_infinity;
};

inline constexpr FloatFormat kF32 = {"f32", 23, -126, 0x1.FFFFFEp127, true};
inline constexpr FloatFormat kBf16 = {"bf16", 7, -126, 0x1.FEp127, true};
inline constexpr FloatFormat kTf32 = {"tf32", 10, -126, 0x1.FFCp127, true};
inline constexpr FloatFormat kF16 = {"f16", 10, -14, 65504, true};
// OCP OFP8 v1.0 E4M3 ("e4m3fn"): the code after 448 is NaN.
inline constexpr FloatFormat kE4m3 = {"e4m3", 3, -6, 448, false};
// OCP MX v1.0 E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
inline constexpr FloatFormat kE2m1 = {"e2m1", 1, 0, 6, false};

// x rounded to nearest, ties to even. What is beyond the largest number becomes
// an infinity, or in a format without one the largest (cvt.satfinite, and OCP
// MX's saturation). NaN stays NaN, -0 stays -0.
double RoundToNearest(const FloatFormat& format, double x);

// x truncated (RZ) to `fraction_bits` at its exponent, or at `least_exponent`
// if that is larger; infinities and NaN as they are.
double Truncate(int fraction_bits, int least_exponent, double x);

// |x| = significand 2^exponent with a significand in [1, 2), or below 1 for
// subnormals, whose exponent is the format's least. Zero: see `kZeroExponent`.
struct Decomposed {
  double significand;  // with x's sign
  int exponent;
};
Decomposed Decompose(const FloatFormat& format, double x);

// MMA-Sim's arithmetic.py, extract_significand_exponent: a zero counts -126
// whatever its format, as operand, scale and accumulator.
inline constexpr int kZeroExponent = -126;

}  // namespace ulpscope::engine_models

#endif  // TESTS_KERNELS_STRATEGY_ENGINE_FORMATS_H_
