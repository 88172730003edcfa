// The one place that defines strategies: the table of them, each a triple of
// operand format, accumulation (kernels/strategy/sum_policies-inl.h) and result
// format. Those that emulate engines or store keys and values are in engines.h
// and cache_formats.h beside it. Kernels, tests, benchmarks, the sweep and
// --help all iterate over AllStrategies, at the end of this file.
#if defined(KERNELS_STRATEGY_ACCUMULATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KERNELS_STRATEGY_ACCUMULATION_INL_H_
#undef KERNELS_STRATEGY_ACCUMULATION_INL_H_
#else
#define KERNELS_STRATEGY_ACCUMULATION_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/strategy/cache_formats.h"
#include "kernels/strategy/engines.h"
#include "kernels/strategy/strategy_info.h"
#include "kernels/strategy/sum_policies-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// From this many terms on, the oracle compensates: its error stays below
// 2^14 * 2^-53 = 2^-39 of sum |a_i b_i|, which is 2^-15 of f32's roundoff.
inline constexpr size_t kOracleLongRow = size_t{1} << 14;

inline constexpr uint32_t kTakenByReductions = KernelBit(Kernel::kMatMul) |
                                               KernelBit(Kernel::kRmsNorm) |
                                               KernelBit(Kernel::kSoftmax);
inline constexpr uint32_t kTakenByAll =
    kTakenByReductions | KernelBit(Kernel::kElementwise) |
    KernelBit(Kernel::kResidual) | KernelBit(Kernel::kKvCache);

struct F32 {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static double Bound(const SumTerms& t) {
    return Gamma(t.n, UnitRoundoff(Format::kF32)) * t.abs_terms;
  }
  static constexpr StrategyInfo kInfo = {
      "f32",        "f32 operands, one f32 FMA per product",
      "f32 FMA",    kTakenByAll,
      Format::kF32, Format::kF32,
      true,         1,
      &Bound};
};

struct Pairwise {
  using Sum = PairwiseBlocks;
  using LongSum = Sum;
  static double Bound(const SumTerms& t) {
    const double blocks = std::ceil(t.n / 64.0);
    const double depth = blocks > 1 ? std::ceil(std::log2(blocks)) : 0;
    const double leaf = t.n < 64 ? t.n : 64;
    return Gamma(leaf + depth, UnitRoundoff(Format::kF32)) * t.abs_terms;
  }
  static constexpr StrategyInfo kInfo = {
      "pairwise",
      "f32 sums of 64 products, added as a balanced binary tree",
      "f32 FMA in 64s, then a tree",
      kTakenByReductions,
      Format::kF32,
      Format::kF32,
      true,
      1,
      &Bound};
};

struct Kahan {
  using Sum = KahanBabuskaNeumaier;
  using LongSum = Sum;
  // The sum of the rounded products by Ogita, Rump, Oishi 2005, proposition
  // 4.5 (Sum2 is this sum), and the rounding of each product.
  static double Bound(const SumTerms& t) {
    const double u = UnitRoundoff(Format::kF32);
    const double gamma = Gamma(t.n, u);
    return u * t.abs_result + (u + gamma * gamma) * (1 + 4 * u) * t.abs_terms;
  }
  static constexpr StrategyInfo kInfo = {
      "kahan",
      "f32 with a running compensation (Kahan-Babuska-Neumaier)",
      "f32, compensated",
      kTakenByReductions | KernelBit(Kernel::kResidual),
      Format::kF32,
      Format::kF32,
      true,
      8,
      &Bound};
};

struct Dot2 {
  using Sum = DotTwice<float>;
  using LongSum = Sum;
  // Ogita, Rump, Oishi 2005, proposition 5.5.
  static double Bound(const SumTerms& t) {
    const double u = UnitRoundoff(Format::kF32);
    const double gamma = Gamma(t.n, u);
    return u * t.abs_result + gamma * gamma * t.abs_terms;
  }
  static constexpr StrategyInfo kInfo = {
      "dot2",
      "f32 as if in twice the precision (Ogita, Rump, Oishi 2005)",
      "f32, doubled",
      KernelBit(Kernel::kMatMul) | KernelBit(Kernel::kRmsNorm),
      Format::kF32,
      Format::kF32,
      true,
      10,
      &Bound};
};

struct F64 {
  using Sum = Recursive<double>;
  using LongSum = Sum;
  static double Bound(const SumTerms& t) {
    const double e = Gamma(t.n, UnitRoundoff(Format::kF64)) * t.abs_terms;
    return WithRounding(t, e, Format::kF32);
  }
  static constexpr StrategyInfo kInfo = {
      "f64",        "f32 operands, f64 FMA, rounded once to f32",
      "f64 FMA",    kTakenByAll,
      Format::kF32, Format::kF32,
      true,         1,
      &Bound};
};

struct BF16 {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static double Bound(const SumTerms& t) {
    return WithRounding(t, F32::Bound(t), Format::kBF16);
  }
  static constexpr StrategyInfo kInfo = {
      "bf16",
      "operands and result rounded to bf16, f32 FMA (PyTorch's bf16)",
      "f32 FMA",
      kTakenByAll,
      Format::kBF16,
      Format::kBF16,
      true,
      1,
      &Bound};
};

// What fused kernels make of PyTorch's chains of ops.
struct BF16Late {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static constexpr StrategyInfo kInfo = {
      "bf16_late",
      "operands bf16, f32 until the end of the op, rounded once to bf16",
      "f32 FMA",
      KernelBit(Kernel::kRmsNorm) | KernelBit(Kernel::kElementwise),
      Format::kBF16,
      Format::kBF16,
      true,
      1,
      &BF16::Bound,
      false,
      nullptr,
      KvCodes::kNone,
      true};
};

// The same with cosines and sines in f32, as where RoPE casts its operands up.
struct BF16Once {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static double Bound(const SumTerms& t) {
    return WithRounding(t, F32::Bound(t), Format::kBF16);
  }
  static constexpr StrategyInfo kInfo = {
      "bf16_once",  "f32 until the end of the op, rounded once to bf16",
      "f32 FMA",    KernelBit(Kernel::kElementwise),
      Format::kF32, Format::kBF16,
      true,         1,
      &Bound,       false,
      nullptr,      KvCodes::kNone,
      true};
};

// vLLM's RMSNorm.forward_native with a residual. The residual's addition leaves
// what it rounds off in the carry, for the norm that follows alone.
struct BF16Fused {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static constexpr StrategyInfo kInfo = {
      "bf16_fused",
      "bf16, and the norm reads the residual's sum before it is rounded",
      "f32 FMA",
      KernelBit(Kernel::kRmsNorm) | KernelBit(Kernel::kResidual),
      Format::kBF16,
      Format::kBF16,
      true,
      1,
      &BF16::Bound,
      false,
      nullptr,
      KvCodes::kNone,
      false,
      true};
};

// Blocks of threads, one strided partial sum each, then a tree: vLLM's RMSNorm
// has 1024 threads for fewer than 256 tokens, and 256 for more.
template <size_t kThreads>
struct BF16Lanes {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static constexpr size_t kPartialSums = kThreads;
  static constexpr StrategyInfo kInfo = {
      kThreads == 256 ? "bf16_lanes256" : "bf16_lanes1024",
      kThreads == 256
          ? "bf16, squares in 256 strided partial sums, then a tree"
          : "bf16, squares in 1024 strided partial sums, then a tree",
      kThreads == 256 ? "256 f32 FMA, then a tree"
                      : "1024 f32 FMA, then a tree",
      KernelBit(Kernel::kRmsNorm),
      Format::kBF16,
      Format::kBF16,
      true,
      1,
      &BF16::Bound};
};

struct BF16Acc {
  using Sum = BF16Running;
  using LongSum = Sum;
  // A term meets at most n f32 roundings and ceil(n / 32) to bf16, each a
  // factor within 1 +- u of its format.
  static double Bound(const SumTerms& t) {
    const double factors =
        t.n * std::log1p(UnitRoundoff(Format::kF32)) +
        std::ceil(t.n / 32.0) * std::log1p(UnitRoundoff(Format::kBF16));
    return std::expm1(factors) * t.abs_terms;
  }
  static constexpr StrategyInfo kInfo = {
      "bf16_acc",
      "bf16, and the running sum rounded to bf16 every 32 products",
      "f32 FMA, bf16 every 32",
      kTakenByReductions,
      Format::kBF16,
      Format::kBF16,
      true,
      1,
      &Bound};
};

struct BF16Hw {
  using Sum = BF16Pairs;
  using LongSum = Sum;
  // A term meets at most n roundings, which need not be to nearest (Arm's
  // BFDOT rounds to odd): twice the unit roundoff. CPUs flush subnormals, which
  // is barred as underflow.
  static double Bound(const SumTerms& t) {
    const double e = Gamma(t.n, 2 * UnitRoundoff(Format::kF32)) * t.abs_terms;
    return WithRounding(t, e, Format::kBF16);
  }
  static constexpr StrategyInfo kInfo = {
      "bf16_hw",
      "bf16 by the CPU's own dot product, in its own order: no fixed bits",
      "the CPU's pairs",
      KernelBit(Kernel::kMatMul),
      Format::kBF16,
      Format::kBF16,
      false,
      0.5,
      &Bound,
      true};
};

struct F16 {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static double Bound(const SumTerms& t) {
    const double e = F32::Bound(t);
    return std::max(WithRounding(t, e, Format::kF16), e + kF16Underflow);
  }
  static constexpr StrategyInfo kInfo = {
      "f16",
      "operands and result rounded to f16, f32 FMA (PyTorch's float16)",
      "f32 FMA",
      kTakenByAll,
      Format::kF16,
      Format::kF16,
      true,
      1,
      &Bound};
};

// What fused kernels make of PyTorch's chains of ops.
struct F16Late {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static constexpr StrategyInfo kInfo = {
      "f16_late",
      "operands f16, f32 until the end of the op, rounded once to f16",
      "f32 FMA",
      KernelBit(Kernel::kRmsNorm) | KernelBit(Kernel::kElementwise),
      Format::kF16,
      Format::kF16,
      true,
      1,
      &F16::Bound,
      false,
      nullptr,
      KvCodes::kNone,
      true};
};

struct F16Once {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static constexpr StrategyInfo kInfo = {
      "f16_once",   "f32 until the end of the op, rounded once to f16",
      "f32 FMA",    KernelBit(Kernel::kElementwise),
      Format::kF32, Format::kF16,
      true,         1,
      &F16::Bound,  false,
      nullptr,      KvCodes::kNone,
      true};
};

// Operands rounded, and a result that is not: what a fused kernel goes on with.
struct BF16F32 {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static constexpr StrategyInfo kInfo = {
      "bf16_f32",    "operands rounded to bf16, f32 FMA, f32 result",
      "f32 FMA",     KernelBit(Kernel::kMatMul),
      Format::kBF16, Format::kF32,
      true,          1,
      &F32::Bound};
};

struct F16F32 {
  using Sum = Recursive<float>;
  using LongSum = Sum;
  static constexpr StrategyInfo kInfo = {
      "f16_f32",    "operands rounded to f16, f32 FMA, f32 result",
      "f32 FMA",    KernelBit(Kernel::kMatMul),
      Format::kF16, Format::kF32,
      true,         1,
      &F32::Bound};
};

struct Oracle {
  using Sum = Recursive<double>;
  using LongSum = DotTwice<double>;
  static double Bound(const SumTerms& t) {
    const double u = UnitRoundoff(Format::kF64);
    const double gamma = Gamma(t.n, u);
    return t.n < kOracleLongRow
               ? gamma * t.abs_terms
               : u * t.abs_result + gamma * gamma * t.abs_terms;
  }
  static constexpr StrategyInfo kInfo = {
      "oracle",
      "f64 throughout, compensated where a row is long",
      "f64 FMA, doubled if long",
      kTakenByAll,
      Format::kF64,
      Format::kF64,
      true,
      1,
      &Bound};
};

// The type of a strategy's accumulators. Engines have policies of their own,
// but what is computed around their MatMuls is f32.
template <class S, class = void>
struct LaneOfStrategy {
  using Type = float;
};
template <class S>
struct LaneOfStrategy<S, std::void_t<typename S::Sum>> {
  using Type = typename S::Sum::Lane;
};
template <class S>
using LaneOf = typename LaneOfStrategy<S>::Type;

template <class... S>
struct StrategyList {};

// The one list. A strategy named here appears in every kernel that takes it,
// every test, the sweep, --help and the reports.
using AllStrategies =
    StrategyList<F32, Pairwise, Kahan, Dot2, F64, BF16, BF16F32, BF16Late,
                 BF16Once, BF16Fused, BF16Lanes<256>, BF16Lanes<1024>, BF16Acc,
                 BF16Hw, F16, F16F32, F16Late, F16Once, F16Acc, SplitK4,
                 SplitK4BF16, BF16Stochastic<1>, BF16Stochastic<2>,
                 BF16Stochastic<3>, BF16Stochastic<4>, TcH100, TcH100F16,
                 TcA100, TcV100, TF32, TF32Fma, Fp8H100, Fp8H100Fast, Fp8B200,
                 MxFp8, MxFp4, NvFp4, Int8, Ggml, Fp8, Q8_0, Q4_0, Oracle>;

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
