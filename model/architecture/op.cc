#include "model/architecture/op.h"

#include <cstddef>

#include "absl/strings/string_view.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {
namespace {

struct OpRow {
  Op op;
  absl::string_view name;
  Kernel kernel;
};

constexpr OpRow kOps[kNumOps] = {
    {Op::kEmbed, "embed", Kernel::kElementwise},
    {Op::kInputNorm, "input_norm", Kernel::kRmsNorm},
    {Op::kQProj, "q_proj", Kernel::kMatMul},
    {Op::kKProj, "k_proj", Kernel::kMatMul},
    {Op::kVProj, "v_proj", Kernel::kMatMul},
    {Op::kQNorm, "q_norm", Kernel::kRmsNorm},
    {Op::kKNorm, "k_norm", Kernel::kRmsNorm},
    {Op::kRope, "rope", Kernel::kElementwise},
    {Op::kKvK, "kv_k", Kernel::kKvCache},
    {Op::kKvV, "kv_v", Kernel::kKvCache},
    {Op::kQk, "qk", Kernel::kMatMul},
    {Op::kSoftmax, "softmax", Kernel::kSoftmax},
    {Op::kAv, "av", Kernel::kMatMul},
    {Op::kOProj, "o_proj", Kernel::kMatMul},
    {Op::kAttnResidual, "attn_residual", Kernel::kResidual},
    {Op::kPostNorm, "post_norm", Kernel::kRmsNorm},
    {Op::kGateProj, "gate_proj", Kernel::kMatMul},
    {Op::kUpProj, "up_proj", Kernel::kMatMul},
    {Op::kSwiGlu, "swiglu", Kernel::kElementwise},
    {Op::kDownProj, "down_proj", Kernel::kMatMul},
    {Op::kMlpResidual, "mlp_residual", Kernel::kResidual},
    {Op::kFinalNorm, "final_norm", Kernel::kRmsNorm},
    {Op::kLmHead, "lm_head", Kernel::kMatMul},
};

constexpr bool RowsAreInOrder() {
  for (size_t i = 0; i < kNumOps; ++i) {
    if (kOps[i].op != OpAt(i)) return false;
  }
  return true;
}
static_assert(RowsAreInOrder(), "kOps is indexed by Op");

}  // namespace

absl::string_view OpName(Op op) { return kOps[static_cast<size_t>(op)].name; }

Kernel OpKernel(Op op) { return kOps[static_cast<size_t>(op)].kernel; }

}  // namespace ulpscope
