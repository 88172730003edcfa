#include "model/trace/built_in_mappings.h"

#include "absl/strings/string_view.h"

namespace ulpscope {
namespace {

// Nodes as llama.cpp's eval callback names them, those of one name numbered as
// they come: X, X.2, X.3, ... Of Qcur a model without biases has what q_proj
// gives, the same as heads, and rotated; one with biases has the product before
// the bias, behind it, the same as heads, and rotated. So the second is what
// q_proj gives in both, and the fourth is rotated if there is one. (A model
// that scales the queries in llama.cpp has more of them, and is not covered.)
constexpr absl::string_view kLlamaCpp = R"(
inp_tokens = input_ids
embd = model.embed_tokens
inp_embd = ? model.embed_tokens
attn_norm-{i} = model.layers.{i}.input_layernorm
Qcur-{i} = ?~ model.layers.{i}.self_attn.q_proj
Kcur-{i} = ?~ model.layers.{i}.self_attn.k_proj
Vcur-{i} = ? model.layers.{i}.self_attn.v_proj
Qcur-{i}.2 = ~ model.layers.{i}.self_attn.q_proj
Kcur-{i}.2 = ~ model.layers.{i}.self_attn.k_proj
Vcur-{i}.2 = model.layers.{i}.self_attn.v_proj
Vcur-{i}.3 = -
Qcur_normed-{i} = model.layers.{i}.self_attn.q_norm
Kcur_normed-{i} = model.layers.{i}.self_attn.k_norm
Qcur-{i}.3 = ?~ model.layers.{i}.self_attn.q_rope
Kcur-{i}.3 = ?~ model.layers.{i}.self_attn.k_rope
Qcur-{i}.4 = ~ model.layers.{i}.self_attn.q_rope
Kcur-{i}.4 = ~ model.layers.{i}.self_attn.k_rope
kqv_out-{i} = model.layers.{i}.self_attn.o_proj.input
attn_out-{i} = model.layers.{i}.self_attn.o_proj
ffn_inp-{i} = model.layers.{i}.post_attention_layernorm.input
ffn_norm-{i} = model.layers.{i}.post_attention_layernorm
ffn_gate-{i} = model.layers.{i}.mlp.gate_proj
ffn_up-{i} = model.layers.{i}.mlp.up_proj
ffn_swiglu-{i} = model.layers.{i}.mlp.down_proj.input
ffn_gate_par-{i} = ? model.layers.{i}.mlp.down_proj.input
ffn_out-{i} = model.layers.{i}.mlp.down_proj
l_out-{i} = model.layers.{i}
norm = -   # the final norm before its weight
norm-{i} = -
norm-{i}.2 = -
norm-{i}.3 = -
norm-{i}.4 = -
Qcur-{i} (view) = -
Kcur-{i} (view) = -
Vcur-{i} (view) = -
Vcur-{i} (reshaped) = -
node_{i} = -
result_norm = model.norm
result_output = logits
)";

constexpr absl::string_view kFused = R"(
hidden_states = hidden_states.{n}
model.layers.{i}.self_attn.qkv_proj = model.layers.{i}.self_attn.q_proj, model.layers.{i}.self_attn.k_proj, model.layers.{i}.self_attn.v_proj
layers.{i}.self_attn.qkv_proj = model.layers.{i}.self_attn.q_proj, model.layers.{i}.self_attn.k_proj, model.layers.{i}.self_attn.v_proj
model.layers.{i}.mlp.gate_up_proj = model.layers.{i}.mlp.gate_proj, model.layers.{i}.mlp.up_proj
layers.{i}.mlp.gate_up_proj = model.layers.{i}.mlp.gate_proj, model.layers.{i}.mlp.up_proj
model.layers.{i}.hidden_states = + model.layers.{i}
model.layers.{i}.residual = + model.layers.{i}
layers.{i}.hidden_states = + model.layers.{i}
layers.{i}.residual = + model.layers.{i}
)";

}  // namespace

absl::string_view BuiltInMapping(absl::string_view name) {
  return name == "llama.cpp" ? kLlamaCpp : absl::string_view();
}

absl::string_view FusedNames() { return kFused; }

}  // namespace ulpscope
