#ifndef MODEL_TRACE_TRACE_NAMES_H_
#define MODEL_TRACE_TRACE_NAMES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/architecture/op.h"

namespace ulpscope {

// The names of outputs in trace files: those of transformers' modules, where
// there is one, `.input` for a module's input. {i} is the layer from 0.
//
//   model.embed_tokens                             embed
//   model.layers.{i}.input_layernorm               input_norm
//   model.layers.{i}.self_attn.q_proj (k_, v_, o_) q_proj, ...
//   model.layers.{i}.self_attn.q_norm (k_)         q_norm, k_norm
//   model.layers.{i}.self_attn.q_rope (k_)         rope: q, then k
//   model.layers.{i}.self_attn.kv_k (kv_v)         kv_k, kv_v; transformers has
//                                                  none, and they are written
//                                                  where a plan rounds them
//   model.layers.{i}.self_attn.attention_scores    qk [heads, query, key],
//                                                  scaled, before the mask
//   model.layers.{i}.self_attn.attention_weights   softmax, the same shape
//   model.layers.{i}.self_attn.o_proj.input        av
//   model.layers.{i}.post_attention_layernorm.input  attn_residual
//   model.layers.{i}.post_attention_layernorm      post_norm
//   model.layers.{i}.mlp.gate_proj (up_, down_)    gate_proj, ...
//   model.layers.{i}.mlp.down_proj.input           swiglu
//   model.layers.{i}                               mlp_residual: the true state
//                                                  after the layer
//   model.norm                                     final_norm
//   logits                                         lm_head
//   hidden_states.{n}                              what output_hidden_states
//                                                  returns: 0 is the embedding,
//                                                  and the last one comes after
//                                                  the final norm
//   input_ids                                      the tokens
struct TraceName {
  enum class Kind { kOutput, kState, kTokens };
  Kind kind = Kind::kOutput;
  size_t layer = 0;  // from 1; 0 for ops in no layer
  Op op = Op::kEmbed;
  bool is_k = false;  // of rope: the part of k
  size_t state = 0;   // index of a state

  // Orders tokens, states and outputs, each ascending by layer and op.
  friend bool operator<(const TraceName& a, const TraceName& b) {
    return a.Key() < b.Key();
  }

 private:
  std::tuple<int, size_t, size_t, Op, bool> Key() const {
    return {-static_cast<int>(kind), state, layer, op, is_k};
  }
};

// What a name stands for; nothing if it is none of the above. Also understood:
// lm_head and final_logits for logits; hidden_states_{n} and after_layer_{n}
// for hidden_states.{n}, after_embeddings for hidden_states.0; transformer. or
// nothing in place of model.
std::optional<TraceName> ParseTraceName(absl::string_view name);

// The name of an op's output; `rope` has two.
std::vector<std::string> TraceNamesOf(size_t layer, Op op);

// The name above for it.
std::string TraceNameText(const TraceName& name);

// "hidden_states.3".
std::string StateName(size_t index);

}  // namespace ulpscope

#endif  // MODEL_TRACE_TRACE_NAMES_H_
