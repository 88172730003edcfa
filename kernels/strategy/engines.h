// The strategies that emulate an engine's MatMul (kernels/strategy/engine.h).
// They are part of the one list in kernels/strategy/accumulation-inl.h.
#ifndef KERNELS_STRATEGY_ENGINES_H_
#define KERNELS_STRATEGY_ENGINES_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/base/format.h"
#include "kernels/strategy/cache_formats.h"
#include "kernels/strategy/engine.h"
#include "kernels/strategy/strategy_info.h"

namespace ulpscope {

// A computed value's error `e`, and one more rounding of it to `format`.
inline double WithRounding(const SumTerms& t, double e, Format format) {
  return e + UnitRoundoff(format) * (t.abs_result + e);
}

// Largest error of n products by steps of TC(N, P, K). The largest addend of a
// step is at least 2^E, so that each of K + 1 loses less than 2^-N of it, and
// the result 2^-P of itself: with the sums so far below sum |a b| (1 + e), e is
// at most `factor` of that. Infinite where that says nothing.
inline double TensorCoreError(const SumTerms& t, int align_bits,
                              int result_bits, double step_terms) {
  const double steps = std::ceil(static_cast<double>(t.n) / step_terms);
  const double step = (step_terms + 1) * std::ldexp(1.0, -align_bits) +
                      std::ldexp(1.0, -result_bits);
  return Gamma(steps, step) * t.abs_terms;
}

// What engines have in common: the bound of their sums, for operands that their
// quantisers leave as they are.
template <class E>
double EngineBound(const SumTerms& t) {
  constexpr Engine engine = E::kEngine;
  constexpr double u = UnitRoundoff(Format::kF32);
  const double n = static_cast<double>(t.n);
  double e = 0;
  switch (engine.accumulator) {
    case Accumulator::kFma: {
      const double rounded = engine.f16_sums ? UnitRoundoff(Format::kF16) : 0;
      e = std::expm1(
              n * (std::log1p(u) + std::log1p(rounded)) +
              static_cast<double>(engine.parts) *
                  (std::log1p(u) + std::log1p(UnitRoundoff(engine.part)))) *
          t.abs_terms;
      break;
    }
    case Accumulator::kTensorCore: {
      // Promoted sums: a block's error is that of its own terms. Scales are
      // multiplied (u each) and the sums of blocks added (u each).
      SumTerms block = t;
      if (engine.promoted != 0) block.n = std::min(t.n, engine.promoted);
      const double promotions =
          engine.promoted != 0
              ? std::ceil(n / static_cast<double>(engine.promoted))
              : 0;
      const double sums =
          TensorCoreError(block, engine.align_bits, engine.result_bits,
                          static_cast<double>(engine.step_terms));
      e = sums + Gamma(promotions + 4, u) * (t.abs_terms + sums);
      break;
    }
    case Accumulator::kBlocks:
      // Exact sums of blocks, their scales and their sums.
      e = Gamma(n / 32 + 4, u) * t.abs_terms;
      break;
  }
  if (engine.quantizer == Quantizer::kGgml) {
    // Of weights without blocks, f32 FMAs.
    e = Gamma(n + 4, u) * t.abs_terms;
  }
  double rounded = WithRounding(t, e, E::kResult);
  // At random it is to one neighbour or the other: a whole spacing.
  if (engine.seed != 0) rounded += rounded - e;
  return E::kResult == Format::kF16 ? std::max(rounded, e + kF16Underflow)
                                    : rounded;
}

// The info of an engine's strategy.
template <class E>
constexpr StrategyInfo EngineInfo(const char* name, const char* summary,
                                  const char* sums, Format operand) {
  // About 20 of this CPU's instructions do a product, of which nothing follows.
  return {name,
          summary,
          sums,
          KernelBit(Kernel::kMatMul),
          operand,
          E::kResult,
          true,
          20,
          &EngineBound<E>,
          false,
          &E::kEngine};
}

// The same, which the KV cache takes too, with the bound of what it stores if
// that is larger.
template <class E>
double BoundOrStored(const SumTerms& t) {
  return std::max(EngineBound<E>(t), StoredBound(t, E::kStoredError));
}
template <class E>
constexpr StrategyInfo AlsoOfCache(StrategyInfo info, KvCodes codes) {
  info.kernels |= KernelBit(Kernel::kKvCache);
  info.kv_codes = codes;
  info.error_bound = &BoundOrStored<E>;
  return info;
}

// Tensor cores. The parameters are those of microsoft/MMA-Sim.
constexpr Engine TensorCore(Quantizer quantizer, int align_bits,
                            int result_bits, size_t step_terms,
                            size_t promoted = 0) {
  Engine engine;
  engine.quantizer = quantizer;
  engine.accumulator = Accumulator::kTensorCore;
  engine.align_bits = align_bits;
  engine.result_bits = result_bits;
  engine.step_terms = step_terms;
  engine.promoted = promoted;
  return engine;
}

struct TcH100 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = TensorCore(Quantizer::kBF16, 25, 23, 16);
  static constexpr StrategyInfo kInfo = EngineInfo<TcH100>(
      "tc_h100", "bf16 by the tensor cores of H100 and B200: TC(25, 23, 16)",
      "TC(25, 23, 16)", Format::kBF16);
};

struct TcH100F16 {
  static constexpr Format kResult = Format::kF16;
  static constexpr Engine kEngine = TensorCore(Quantizer::kF16, 25, 23, 16);
  static constexpr StrategyInfo kInfo = EngineInfo<TcH100F16>(
      "tc_h100_f16", "f16 by the tensor cores of H100 and B200: TC(25, 23, 16)",
      "TC(25, 23, 16)", Format::kF16);
};

struct TcA100 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = TensorCore(Quantizer::kBF16, 24, 23, 8);
  static constexpr StrategyInfo kInfo = EngineInfo<TcA100>(
      "tc_a100", "bf16 by the tensor cores of A100: TC(24, 23, 8)",
      "TC(24, 23, 8)", Format::kBF16);
};

struct TcV100 {
  static constexpr Format kResult = Format::kF16;
  static constexpr Engine kEngine = TensorCore(Quantizer::kF16, 23, 23, 4);
  static constexpr StrategyInfo kInfo = EngineInfo<TcV100>(
      "tc_v100", "f16 by the tensor cores of V100: TC(23, 23, 4)",
      "TC(23, 23, 4)", Format::kF16);
};

struct TF32 {
  static constexpr Format kResult = Format::kF32;
  static constexpr Engine kEngine = TensorCore(Quantizer::kTF32, 25, 23, 8);
  static constexpr StrategyInfo kInfo = EngineInfo<TF32>(
      "tf32", "operands cut off at 10 fraction bits, TC(25, 23, 8), f32 result",
      "TC(25, 23, 8)", Format::kF32);
};

// What CUTLASS converts operands to before its tensor cores read them; sums are
// those of f32 FMAs.
struct TF32Fma {
  static constexpr Format kResult = Format::kF32;
  static constexpr Engine kEngine = {Quantizer::kTF32Nearest,
                                     Accumulator::kFma};
  static constexpr StrategyInfo kInfo = EngineInfo<TF32Fma>(
      "tf32_fma", "operands rounded to 10 fraction bits, f32 FMA, f32 result",
      "f32 FMA", Format::kF32);
};

struct Fp8H100 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine =
      TensorCore(Quantizer::kE4M3Blocks, 13, 13, 32, 128);
  static constexpr StrategyInfo kInfo = EngineInfo<Fp8H100>(
      "fp8_h100",
      "FP8 E4M3 scaled 1 x 128 and 128 x 128, H100, promoted every 128 "
      "(DeepGEMM)",
      "TC(13, 13, 32), f32 every 128", Format::kF32);
};

struct Fp8H100Fast {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = TensorCore(Quantizer::kE4M3, 13, 13, 32);
  static constexpr StrategyInfo kInfo = EngineInfo<Fp8H100Fast>(
      "fp8_h100_fast",
      "FP8 E4M3 scaled by rows, H100's fast accumulation: TC(13, 13, 32)",
      "TC(13, 13, 32)", Format::kF32);
};

struct Fp8B200 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = TensorCore(Quantizer::kE4M3, 25, 23, 32);
  static constexpr StrategyInfo kInfo = EngineInfo<Fp8B200>(
      "fp8_b200", "FP8 E4M3 scaled by rows, B200: TC(25, 23, 32)",
      "TC(25, 23, 32)", Format::kF32);
};

struct MxFp8 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = TensorCore(Quantizer::kMXFP8, 25, 23, 32);
  static constexpr StrategyInfo kInfo = EngineInfo<MxFp8>(
      "mxfp8", "MXFP8 (E4M3 in blocks of 32), B200: TC(25, 23, 32)",
      "TC(25, 23, 32)", Format::kF32);
};

// FP4's terms are sums of 16 products; five addends a step.
struct MxFp4 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = TensorCore(Quantizer::kMXFP4, 35, 23, 64);
  static constexpr StrategyInfo kInfo = EngineInfo<MxFp4>(
      "mxfp4", "MXFP4 (E2M1 in blocks of 32), B200: sums of 16, 35 bits",
      "TC(35, 23, 4) of 16s", Format::kF32);
};

struct NvFp4 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = TensorCore(Quantizer::kNVFP4, 35, 23, 64);
  static constexpr StrategyInfo kInfo = EngineInfo<NvFp4>(
      "nvfp4",
      "NVFP4 (E2M1 in blocks of 16, E4M3 scales), B200: sums of 16, 35 bits",
      "TC(35, 23, 4) of 16s", Format::kF32);
};

struct Int8 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = {Quantizer::kInt8, Accumulator::kBlocks};
  // Half a step of 1/127, and the product with it.
  static constexpr double kStoredError = 1 / 254.0 + 0x1p-22;
  static constexpr StrategyInfo kInfo = AlsoOfCache<Int8>(
      EngineInfo<Int8>("int8",
                       "W8A8: int8 scaled by rows, int32 sums (llm-compressor, "
                       "vLLM); of the "
                       "KV cache int8 with a scale per head and position",
                       "int32", Format::kF32),
      KvCodes::kInt8);
};

struct Ggml {
  static constexpr Format kResult = Format::kF32;
  static constexpr Engine kEngine = {Quantizer::kGgml, Accumulator::kBlocks};
  static constexpr StrategyInfo kInfo = EngineInfo<Ggml>(
      "ggml",
      "activations rounded as llama.cpp's CPU backend does for the weights' "
      "type (q8_0, q8_K, f16, bf16), f32 result",
      "int32 per block, f32 FMA", Format::kF32);
};

// bf16 with k in parts, as split-k kernels and tensor parallelism add them.
template <size_t kParts, Format kPart>
constexpr Engine SplitK() {
  Engine engine;
  engine.quantizer = Quantizer::kBF16;
  engine.parts = kParts;
  engine.part = kPart;
  return engine;
}

struct SplitK4 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = SplitK<4, Format::kF32>();
  static constexpr StrategyInfo kInfo = EngineInfo<SplitK4>(
      "splitk4", "bf16, k in 4 parts, their sums added in f32",
      "f32 FMA in 4 parts", Format::kBF16);
};

struct SplitK4BF16 {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = SplitK<4, Format::kBF16>();
  static constexpr StrategyInfo kInfo = EngineInfo<SplitK4BF16>(
      "splitk4_bf16",
      "bf16, k in 4 parts, their sums rounded to bf16 and added in f32",
      "f32 FMA in 4 parts, bf16", Format::kBF16);
};

// Replicates of bf16 whose luck differs (arXiv 2603.06060, 2605.25991).
constexpr Engine StochasticRounding(uint64_t seed) {
  Engine engine;
  engine.quantizer = Quantizer::kBF16;
  engine.seed = seed;
  return engine;
}

inline constexpr const char* kStochasticNames[] = {"bf16_sr1", "bf16_sr2",
                                                   "bf16_sr3", "bf16_sr4"};

template <uint64_t kSeed>
struct BF16Stochastic {
  static constexpr Format kResult = Format::kBF16;
  static constexpr Engine kEngine = StochasticRounding(kSeed);
  static constexpr StrategyInfo kInfo = EngineInfo<BF16Stochastic>(
      kStochasticNames[kSeed - 1],
      "bf16, the result rounded at random, not to nearest: replicates",
      "f32 FMA", Format::kBF16);
};

struct F16Acc {
  static constexpr Format kResult = Format::kF16;
  static constexpr Engine kEngine = {
      Quantizer::kF16, Accumulator::kFma, 0, 0, 0, 0, 1, Format::kF32, true};
  static constexpr StrategyInfo kInfo = EngineInfo<F16Acc>(
      "f16_acc", "f16, and the running sum rounded to f16 after every product",
      "f16 after every FMA", Format::kF16);
};

}  // namespace ulpscope

#endif  // KERNELS_STRATEGY_ENGINES_H_
