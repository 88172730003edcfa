#ifndef MODEL_ARCHITECTURE_VARIANT_H_
#define MODEL_ARCHITECTURE_VARIANT_H_

#include <cstdint>

#include "model/architecture/op.h"

namespace ulpscope {

// Which values of a head RoPE rotates together.
enum class RopePairs {
  kHalves,      // i and i + head_dim / 2 (Hugging Face)
  kNeighbours,  // 2i and 2i + 1 (Su et al. 2021, Meta's Llama, GPT-J)
};

// What RoPE's angles and their cosines are rounded to, before the strategy
// rounds the latter.
enum class RopeRounding {
  kNone,
  kFrequenciesBF16,  // the frequencies: a model cast whole to bf16
  kAnglesBF16,       // frequencies, their products with positions, and cosines
  kCosinesBF16,      // cosines and sines alone
};

// Where queries and keys are not normalized, q_norm and k_norm are shown as
// what is passed on in their place.
enum class QkNorm { kAsConfigured, kMissing, kAfterRope };

// Which KV head a query head h reads.
enum class KvHeads {
  kGrouped,  // h / (heads / kv_heads): each repeated in place
  kTiled,    // h % kv_heads: all repeated one after the other
};

// Others than the standard one are of ports that compute attention step by
// step: a layer's attention is eager with them, whatever form the plan has.
enum class SoftmaxForm {
  kStandard,
  // In f16 without subtracting the maximum: exp overflows beyond 11.09.
  kF16WithoutMax,
};

enum class Activation { kSilu, kGelu, kGeluTanh };

// A decoder that differs from its config: the mistakes that ports of Qwen and
// Llama are known for. Everything at its default is the model itself. Ops round
// as their strategies say, wherever that has a meaning.
struct Variant {
  RopePairs rope_pairs = RopePairs::kHalves;
  double rope_theta = 0;  // 0: the config's
  RopeRounding rope_rounding = RopeRounding::kNone;
  // RoPE's frequencies and their products with positions are rounded to f32, as
  // in transformers, whatever the model's type: an error that grows with the
  // position.
  bool rope_angles_f32 = false;
  int64_t q_position_offset = 0;  // added to the positions of RoPE
  int64_t k_position_offset = 0;

  double norm_eps = -1;  // of all norms; negative: the config's
  // The weight multiplies before the result is rounded to bf16 or f16, rather
  // than after; where neither is rounded to it is the same.
  bool norm_weight_before_cast = false;
  bool norm_weight_plus_one = false;  // as in Gemma
  QkNorm qk_norm = QkNorm::kAsConfigured;
  bool without_qkv_bias = false;

  KvHeads kv_heads = KvHeads::kGrouped;
  double attention_scale = 0;  // 0: 1 / sqrt(head_dim)
  bool causal = true;          // false: every position attends to all
  SoftmaxForm softmax = SoftmaxForm::kStandard;

  Activation activation = Activation::kSilu;
  bool gate_and_up_swapped = false;

  bool without_final_norm = false;  // the logits are those of the stream itself
  // The logits are made by the embedding, whatever the model has.
  bool head_is_embedding = false;

  // Whatever of it changes the op's output where those of all other ops are the
  // same, all else at its default. Of `qk` and `softmax` it is also what
  // belongs to `av`: the three are computed together.
  Variant PartOf(Op op) const;

  friend bool operator==(const Variant& a, const Variant& b);
  friend bool operator!=(const Variant& a, const Variant& b) {
    return !(a == b);
  }
};

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_VARIANT_H_
