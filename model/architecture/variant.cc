#include "model/architecture/variant.h"

#include <tuple>

#include "model/architecture/op.h"

namespace ulpscope {
namespace {

auto Fields(const Variant& v) {
  return std::tie(v.rope_pairs, v.rope_theta, v.rope_rounding,
                  v.rope_angles_f32, v.q_position_offset, v.k_position_offset,
                  v.norm_eps, v.norm_weight_before_cast, v.norm_weight_plus_one,
                  v.qk_norm, v.without_qkv_bias, v.kv_heads, v.attention_scale,
                  v.causal, v.softmax, v.activation, v.gate_and_up_swapped,
                  v.without_final_norm, v.head_is_embedding);
}

void CopyNorm(const Variant& from, Variant& to) {
  to.norm_eps = from.norm_eps;
  to.norm_weight_before_cast = from.norm_weight_before_cast;
  to.norm_weight_plus_one = from.norm_weight_plus_one;
}

}  // namespace

Variant Variant::PartOf(Op op) const {
  Variant part;
  switch (op) {
    case Op::kEmbed:
    case Op::kOProj:
    case Op::kAttnResidual:
    case Op::kGateProj:
    case Op::kUpProj:
    case Op::kDownProj:
    case Op::kMlpResidual:
    case Op::kKvV:
      break;
    case Op::kInputNorm:
    case Op::kPostNorm:
      CopyNorm(*this, part);
      break;
    case Op::kQProj:
    case Op::kKProj:
    case Op::kVProj:
      part.without_qkv_bias = without_qkv_bias;
      break;
    case Op::kQNorm:
    case Op::kKNorm:
      part.qk_norm = qk_norm;
      if (qk_norm != QkNorm::kMissing) CopyNorm(*this, part);
      break;
    case Op::kRope:
      part.rope_pairs = rope_pairs;
      part.rope_theta = rope_theta;
      part.rope_rounding = rope_rounding;
      part.rope_angles_f32 = rope_angles_f32;
      part.q_position_offset = q_position_offset;
      part.k_position_offset = k_position_offset;
      part.qk_norm = qk_norm;
      break;
    case Op::kKvK:
      // Then k_norm is read, and not rope.
      if (qk_norm == QkNorm::kAfterRope) part.qk_norm = qk_norm;
      break;
    case Op::kQk:
    case Op::kSoftmax:
    case Op::kAv:
      part.kv_heads = kv_heads;
      part.attention_scale = attention_scale;
      part.causal = causal;
      part.softmax = softmax;
      // Then q_norm and k_norm are read, and not rope.
      if (qk_norm == QkNorm::kAfterRope) part.qk_norm = qk_norm;
      break;
    case Op::kSwiGlu:
      part.activation = activation;
      part.gate_and_up_swapped = gate_and_up_swapped;
      break;
    case Op::kFinalNorm:
      part.without_final_norm = without_final_norm;
      if (!without_final_norm) CopyNorm(*this, part);
      break;
    case Op::kLmHead:
      part.head_is_embedding = head_is_embedding;
      break;
  }
  return part;
}

bool operator==(const Variant& a, const Variant& b) {
  return Fields(a) == Fields(b);
}

}  // namespace ulpscope
