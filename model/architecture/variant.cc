#include "model/architecture/variant.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "model/architecture/op.h"

namespace ulpscope {
namespace {

auto Fields(const Variant& v) {
  return std::tie(
      v.rope_pairs, v.rope_theta, v.rope_rounding, v.rope_angles_f32,
      v.q_position_offset, v.k_position_offset, v.q_positions, v.k_positions,
      v.without_rope_scaling, v.without_rope_attention_factor, v.norm_eps,
      v.norm_weight_before_cast, v.norm_weight_plus_one, v.qk_norm,
      v.without_bias, v.scales, v.q_rows, v.k_rows, v.kv_heads,
      v.attention_scale, v.causal, v.mask, v.softmax, v.activation,
      v.gate_and_up_swapped, v.without_final_norm, v.head_is_embedding,
      v.logits_scale, v.logits_cap, v.log_softmax, v.layers);
}

void CopyNorm(const Variant& from, Variant& to) {
  to.norm_eps = from.norm_eps;
  to.norm_weight_before_cast = from.norm_weight_before_cast;
  to.norm_weight_plus_one = from.norm_weight_plus_one;
}

// What an op of weights has of biases and factors.
void CopyProduct(const Variant& from, Op op, Variant& to) {
  if (from.without_bias.count(op) > 0) to.without_bias = {op};
  for (const OpScale& scale : from.scales) {
    if (scale.op == op) to.scales = {scale};
  }
}

}  // namespace

size_t KeyMask::Length(size_t position, size_t positions) const {
  if (LeavesNothing(position)) return positions;
  if (position >= unmasked_rows) return position + 1;
  return std::min(unmasked_rows, positions);
}

size_t KeyMask::First(size_t position, size_t length) const {
  if (position < from_row) return 0;
  if (LeavesNothing(position)) return unseeing == Unseeing::kNaN ? length : 0;
  return std::min(first_key, length);
}

Variant Variant::In(size_t layer) const {
  Variant in = layer > 0 && !layers.empty() ? layers[layer - 1] : *this;
  in.layers.clear();
  in.rope_angles_f32 = rope_angles_f32;
  return in;
}

Variant Variant::PartOf(Op op) const {
  Variant part;
  switch (op) {
    case Op::kEmbed:
    case Op::kAttnResidual:
    case Op::kMlpResidual:
    case Op::kKvV:
      break;
    case Op::kOProj:
    case Op::kGateProj:
    case Op::kUpProj:
    case Op::kDownProj:
      CopyProduct(*this, op, part);
      break;
    case Op::kInputNorm:
    case Op::kPostNorm:
      CopyNorm(*this, part);
      break;
    case Op::kQProj:
    case Op::kKProj:
    case Op::kVProj:
      CopyProduct(*this, op, part);
      if (op == Op::kQProj) part.q_rows = q_rows;
      if (op == Op::kKProj) part.k_rows = k_rows;
      break;
    case Op::kQNorm:
    case Op::kKNorm:
      part.qk_norm = qk_norm;
      if (op == Op::kQNorm) part.q_rows = q_rows;
      if (op == Op::kKNorm) part.k_rows = k_rows;
      if (qk_norm != QkNorm::kMissing) CopyNorm(*this, part);
      break;
    case Op::kRope:
      part.rope_pairs = rope_pairs;
      part.rope_theta = rope_theta;
      part.rope_rounding = rope_rounding;
      part.rope_angles_f32 = rope_angles_f32;
      part.q_position_offset = q_position_offset;
      part.k_position_offset = k_position_offset;
      part.q_positions = q_positions;
      part.k_positions = k_positions;
      part.without_rope_scaling = without_rope_scaling;
      part.without_rope_attention_factor = without_rope_attention_factor;
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
      if (causal) part.mask = mask;
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
      part.logits_scale = logits_scale;
      part.logits_cap = logits_cap;
      part.log_softmax = log_softmax;
      break;
  }
  return part;
}

bool operator==(const Variant& a, const Variant& b) {
  return Fields(a) == Fields(b);
}

}  // namespace ulpscope
