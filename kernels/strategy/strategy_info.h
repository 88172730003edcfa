#ifndef KERNELS_STRATEGY_STRATEGY_INFO_H_
#define KERNELS_STRATEGY_STRATEGY_INFO_H_

#include <cstddef>
#include <cstdint>

#include "kernels/base/format.h"
#include "kernels/strategy/engine.h"

namespace ulpscope {

// The kinds of computation that a strategy can apply to. They are the op groups
// of a plan, in the order in which plans print them.
enum class Kernel {
  kMatMul,
  kRmsNorm,
  kSoftmax,
  kElementwise,
  kResidual,
  kKvCache,
};
inline constexpr size_t kNumKernels = 6;

constexpr uint32_t KernelBit(Kernel kernel) {
  return 1u << static_cast<uint32_t>(kernel);
}

// What is known of a sum of n products a_i b_i when a strategy is chosen.
struct SumTerms {
  size_t n = 0;
  double abs_result = 0;  // |sum a_i b_i|
  double abs_terms = 0;   // sum |a_i b_i|
};

// The codes that the KV cache keeps of a head's values at one position under
// strategies that have them (kernels/ops/store_heads.h); the cache itself holds
// what they stand for. None: values of the strategy's result format.
enum class KvCodes { kNone, kE4M3, kInt8, kQ8_0, kQ4_0 };

struct StrategyInfo {
  const char* name;     // in plans, flags, reports, benchmarks
  const char* summary;  // one line for --help
  // How products are added, between what operands and the result are rounded
  // to: "f32 FMA", "TC(25, 23, 16)".
  const char* sums;
  uint32_t kernels;  // KernelBit of each kernel that takes it
  Format operand;    // operands are rounded to it when read
  Format result;     // the result is rounded to it when written
  // Whether the same operands give the same bits on every target, row count,
  // tile and thread count. Tests hold it to the claim.
  bool fixed_bits;
  // Vector instructions per product of a MatMul, loads and widening aside.
  double instructions_per_product;
  // Largest possible |computed - exact| of a MatMul's output without bias and
  // scale, for operands that are representable in `operand`, final rounding
  // included; barring overflow and, of formats but f16, underflow. Of a
  // strategy that only the KV cache takes: of a sum by f32 of products of which
  // one factor was stored under it, the largest as large as all others.
  double (*error_bound)(const SumTerms& terms);
  bool needs_bf16_dot = false;  // CpuHasBf16Dot of kernels/base/cpu.h
  // What MatMul emulates under it; or null. `operand` is then the format that
  // holds its quantised values.
  const Engine* engine = nullptr;
  KvCodes kv_codes = KvCodes::kNone;
  // Whether what PyTorch would round between the operations of one op is not,
  // as in fused kernels: results are rounded once.
  bool rounds_once = false;
  // Whether a norm reads the stream before the residual's addition rounded it.
  bool reads_carry = false;

  // The format of what the KV cache holds under it.
  constexpr Format stored() const {
    return kv_codes != KvCodes::kNone ? Format::kF32 : result;
  }
  // Whether this CPU's time says nothing of the time of what computes so.
  constexpr bool emulated() const {
    return engine != nullptr || kv_codes != KvCodes::kNone;
  }
};

}  // namespace ulpscope

#endif  // KERNELS_STRATEGY_STRATEGY_INFO_H_
