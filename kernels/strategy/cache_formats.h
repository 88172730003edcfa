// Strategies that quantise the keys and values of the KV cache alone; what they
// compute is kernels/ops/store_heads.h. None of them has a sum. They are part
// of the one list in kernels/strategy/accumulation-inl.h.
#ifndef KERNELS_STRATEGY_CACHE_FORMATS_H_
#define KERNELS_STRATEGY_CACHE_FORMATS_H_

#include "kernels/base/format.h"
#include "kernels/strategy/strategy_info.h"

namespace ulpscope {

// Of f32 sums of products whose one factor is off by so much of the largest.
inline double StoredBound(const SumTerms& t, double relative) {
  return (relative +
          Gamma(static_cast<double>(t.n) + 1, UnitRoundoff(Format::kF32))) *
         (1 + relative) * t.abs_terms;
}

struct Fp8 {
  // Three fraction bits.
  static double Bound(const SumTerms& t) { return StoredBound(t, 0x1p-4); }
  static constexpr StrategyInfo kInfo = {
      "fp8",
      "FP8 (E4M3) without a scale, saturating, as vLLM's KV cache",
      "f32 FMA",
      KernelBit(Kernel::kKvCache),
      Format::kF32,
      Format::kF32,
      true,
      1,
      &Bound,
      false,
      nullptr,
      KvCodes::kE4M3};
};

struct Q8_0 {
  // Half a step of 1/127, and the rounding of that to f16.
  static double Bound(const SumTerms& t) {
    return StoredBound(t, 1 / 254.0 + 0x1p-11 + 0x1p-22);
  }
  static constexpr StrategyInfo kInfo = {
      "q8_0",
      "ggml's Q8_0: 8-bit integers, an f16 scale per 32 of a head",
      "f32 FMA",
      KernelBit(Kernel::kKvCache),
      Format::kF32,
      Format::kF32,
      true,
      1,
      &Bound,
      false,
      nullptr,
      KvCodes::kQ8_0};
};

struct Q4_0 {
  // A whole step of 1/8, where the code 8 is missing, and its rounding.
  static double Bound(const SumTerms& t) {
    return StoredBound(t, 0x1p-3 + 0x1p-11 + 0x1p-20);
  }
  static constexpr StrategyInfo kInfo = {
      "q4_0",
      "ggml's Q4_0: 4-bit integers, an f16 scale per 32 of a head",
      "f32 FMA",
      KernelBit(Kernel::kKvCache),
      Format::kF32,
      Format::kF32,
      true,
      1,
      &Bound,
      false,
      nullptr,
      KvCodes::kQ4_0};
};

}  // namespace ulpscope

#endif  // KERNELS_STRATEGY_CACHE_FORMATS_H_
