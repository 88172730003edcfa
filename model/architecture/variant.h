#ifndef MODEL_ARCHITECTURE_VARIANT_H_
#define MODEL_ARCHITECTURE_VARIANT_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

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
  kPositionsBF16,    // positions alone, which bf16 holds up to 256
};

// The positions by which RoPE rotates from some row on: `start` at that row,
// and `step` more at each one after it. A step of 0 stands still.
struct PositionsFrom {
  size_t row = 0;  // 0: of no row
  int64_t start = 0;
  int64_t step = 1;

  int64_t At(size_t position) const {
    if (row == 0 || position < row) return static_cast<int64_t>(position);
    return start + step * static_cast<int64_t>(position - row);
  }

  friend bool operator==(const PositionsFrom& a, const PositionsFrom& b) {
    return a.row == b.row && a.start == b.start && a.step == b.step;
  }
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

// What becomes of a row that the mask leaves no key.
enum class Unseeing {
  kNaN,      // it is NaN: a mask of -infinity
  kUniform,  // it sees all keys of the sequence alike: a mask of the lowest
             // number
};

// Keys that a row sees beside the usual ones, and those that it does not. A
// layer's attention is eager with a mask, whatever form the plan has.
struct KeyMask {
  size_t unmasked_rows = 0;  // so many first rows all see each other
  size_t first_key = 0;      // keys before this one are hidden
  size_t from_row = 0;       // from rows from this one on
  Unseeing unseeing = Unseeing::kNaN;

  bool empty() const { return unmasked_rows == 0 && first_key == 0; }
  // Of a sequence of so many positions, how many keys the row has scores of,
  // and which of these is the first that it sees: the length if none is.
  size_t Length(size_t position, size_t positions) const;
  size_t First(size_t position, size_t length) const;
  // Of such a row all keys of the sequence are alike, NaN or not.
  bool LeavesNothing(size_t position) const {
    return position >= from_row && position < first_key;
  }

  friend bool operator==(const KeyMask& a, const KeyMask& b) {
    return a.unmasked_rows == b.unmasked_rows && a.first_key == b.first_key &&
           a.from_row == b.from_row && a.unseeing == b.unseeing;
  }
};

// A factor on what an op of weights computes: on the product alone, as where
// the weights are scaled, or on its sum with the bias.
struct OpScale {
  Op op = Op::kQProj;
  double factor = 1;
  bool with_bias = false;

  friend bool operator==(const OpScale& a, const OpScale& b) {
    return a.op == b.op && a.factor == b.factor && a.with_bias == b.with_bias;
  }
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
  PositionsFrom q_positions, k_positions;  // before the offsets
  bool without_rope_scaling = false;       // of the frequencies
  // Cosines and sines are not multiplied by YaRN's attention_factor.
  bool without_rope_attention_factor = false;

  double norm_eps = -1;  // of all norms; negative: the config's
  // The weight multiplies before the result is rounded to bf16 or f16, rather
  // than after; where neither is rounded to it is the same.
  bool norm_weight_before_cast = false;
  bool norm_weight_plus_one = false;  // as in Gemma
  QkNorm qk_norm = QkNorm::kAsConfigured;

  std::set<Op> without_bias;
  // Factors, of an op at most one.
  std::vector<OpScale> scales;
  // Row i of q_proj (k_proj), bias and all, is the checkpoint's row
  // q_rows[i] (k_rows[i]); empty: as they are stored. Where all heads have the
  // same order, the weight of q_norm (k_norm) is in it too.
  std::vector<int32_t> q_rows, k_rows;

  KvHeads kv_heads = KvHeads::kGrouped;
  double attention_scale = 0;  // 0: 1 / sqrt(head_dim)
  bool causal = true;          // false: every position attends to all
  KeyMask mask;                // of no effect unless causal
  SoftmaxForm softmax = SoftmaxForm::kStandard;

  Activation activation = Activation::kSilu;
  bool gate_and_up_swapped = false;

  bool without_final_norm = false;  // the logits are those of the stream itself
  // The logits are made by the embedding, whatever the model has.
  bool head_is_embedding = false;
  // What becomes of logits, in this order.
  double logits_scale = 1;
  double logits_cap = 0;  // cap tanh(logit / cap); 0: none
  bool log_softmax = false;

  // Layers that differ from this, if any do: of every layer what it is there.
  // rope_angles_f32 is that of all, and ops in no layer are always this one's.
  std::vector<Variant> layers;

  // What it is in a layer (from 1; 0: the ops in none), without `layers`.
  Variant In(size_t layer) const;

  // Whatever of it changes the op's output where those of all other ops are the
  // same, all else at its default. Of `qk` and `softmax` it is also what
  // belongs to `av`: the three are computed together. Of one without `layers`.
  Variant PartOf(Op op) const;

  friend bool operator==(const Variant& a, const Variant& b);
  friend bool operator!=(const Variant& a, const Variant& b) {
    return !(a == b);
  }
};

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_VARIANT_H_
