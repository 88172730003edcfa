#ifndef KERNELS_BASE_FORMAT_H_
#define KERNELS_BASE_FORMAT_H_

#include <limits>

namespace ulpscope {

// Formats that operands and results are rounded to.
enum class Format { kF64, kF32, kBF16, kF16 };

// "bf16", as plans and reports name it.
constexpr const char* FormatName(Format format) {
  return format == Format::kF64    ? "f64"
         : format == Format::kF32  ? "f32"
         : format == Format::kBF16 ? "bf16"
                                   : "f16";
}

// Half the spacing of `format` in [1, 2): the largest relative error of one
// rounding to nearest (Higham 2002, section 2.1). 2^-53, 2^-24, 2^-8 or 2^-11.
constexpr double UnitRoundoff(Format format) {
  return format == Format::kF64    ? 0x1p-53
         : format == Format::kF32  ? 0x1p-24
         : format == Format::kBF16 ? 0x1p-8
                                   : 0x1p-11;
}

// The types of tensors between PyTorch's ops, where a model is cast to them.
constexpr bool Has16Bits(Format format) {
  return format == Format::kBF16 || format == Format::kF16;
}

// Half the spacing of f16 below its normal numbers, which begin at 2^-14: there
// one rounding's error is no longer relative. Activations reach that far down,
// as they do not in the formats with exponents of 8 bits.
inline constexpr double kF16Underflow = 0x1p-25;

// gamma_n = n u / (1 - n u), the relative error of n roundings in a row (Higham
// 2002, lemma 3.1). Infinite for n u >= 1, where the analysis says nothing.
constexpr double Gamma(double n, double unit_roundoff) {
  const double nu = n * unit_roundoff;
  return nu < 1 ? nu / (1 - nu) : std::numeric_limits<double>::infinity();
}

}  // namespace ulpscope

#endif  // KERNELS_BASE_FORMAT_H_
