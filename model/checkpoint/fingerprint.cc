#include "model/checkpoint/fingerprint.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/architecture/config.h"
#include "model/files/content_hash.h"
#include "model/files/tensor.h"

namespace ulpscope {

// Of the fields that a result depends on. Hexadecimal floating point has every
// bit of a double.
Fingerprint::Fingerprint(const ModelConfig& c)
    : contents_(absl::StrFormat(
          "%s vocab_size=%d hidden_size=%d intermediate_size=%d layers=%d "
          "heads=%d kv_heads=%d head_dim=%d eps=%a theta=%a linear=%a tied=%d "
          "qkv_bias=%d output_bias=%d qk_norm=%d\n",
          ArchitectureName(c.architecture), c.vocab_size, c.hidden_size,
          c.intermediate_size, c.num_hidden_layers, c.num_attention_heads,
          c.num_key_value_heads, c.head_dim, c.rms_norm_eps, c.rope_theta,
          c.rope_linear_factor, c.tie_word_embeddings, c.qkv_bias,
          c.output_bias, c.qk_norm)) {
  if (c.mlp_bias) contents_ += "mlp_bias\n";
  if (c.llama3_rope_scaling.has_value()) {
    const Llama3RopeScaling& scaling = *c.llama3_rope_scaling;
    absl::StrAppendFormat(&contents_, "llama3 %a %a %a %a\n", scaling.factor,
                          scaling.low_freq_factor, scaling.high_freq_factor,
                          scaling.original_max_position_embeddings);
  }
  if (c.yarn_rope_scaling.has_value()) {
    const YarnRopeScaling& yarn = *c.yarn_rope_scaling;
    absl::StrAppendFormat(&contents_, "yarn %a %a %a %a %a %d\n", yarn.factor,
                          yarn.original_max_position_embeddings,
                          yarn.attention_factor, yarn.beta_fast, yarn.beta_slow,
                          yarn.truncate);
  }
  for (const double divisor : c.rope_divisors) {
    absl::StrAppendFormat(&contents_, "divisor %a\n", divisor);
  }
}

void Fingerprint::Add(const Tensor& tensor) {
  absl::StrAppend(&contents_, tensor.name, " ", tensor.type_name(), " ",
                  ShapeText(tensor.shape), " ",
                  ContentHash(tensor.data, tensor.bytes()), "\n");
}

std::string Fingerprint::Text() const { return ContentHash(contents_); }

}  // namespace ulpscope
