#ifndef MODEL_ARCHITECTURE_OP_H_
#define MODEL_ARCHITECTURE_OP_H_

#include <cstddef>

#include "absl/strings/string_view.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {

// The named steps of the decoder, in the order in which they run.
enum class Op {
  kEmbed,
  kInputNorm,
  kQProj,
  kKProj,
  kVProj,
  kQNorm,
  kKNorm,
  kRope,
  kKvK,  // what the KV cache stores of keys
  kKvV,  // and of values
  kQk,
  kSoftmax,
  kAv,
  kOProj,
  kAttnResidual,
  kPostNorm,
  kGateProj,
  kUpProj,
  kSwiGlu,
  kDownProj,
  kMlpResidual,
  kFinalNorm,
  kLmHead,
};
inline constexpr size_t kNumOps = 23;

constexpr Op OpAt(size_t index) { return static_cast<Op>(index); }

absl::string_view OpName(Op op);  // "embed", ... "lm_head"

// The group of a plan that the op belongs to: the kernel that computes it.
// `embed` only rounds a row of a table and counts as elementwise.
Kernel OpKernel(Op op);

// Whether the op gives the same bits under both strategies, whatever it reads.
inline bool ComputeTheSame(Op op, Strategy a, Strategy b) {
  return ComputeTheSame(OpKernel(op), a, b);
}

// Whether the op runs once in every layer, rather than once before the first
// (embed) or after the last (final_norm, lm_head).
constexpr bool IsPerLayer(Op op) {
  return op != Op::kEmbed && op != Op::kFinalNorm && op != Op::kLmHead;
}

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_OP_H_
