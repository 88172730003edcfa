#ifndef MODEL_ARCHITECTURE_CONFIG_H_
#define MODEL_ARCHITECTURE_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// The decoders that share this pipeline. They differ in flags below, not code.
enum class Architecture { kQwen3, kQwen2, kLlama };

// "Qwen3ForCausalLM" etc., as in config.json's `architectures`.
absl::string_view ArchitectureName(Architecture architecture);

// rope_scaling of Llama 3.1: frequencies whose wavelength is long against the
// original context are divided by `factor`, with a smooth ramp between.
struct Llama3RopeScaling {
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_max_position_embeddings = 8192;
};

// rope_scaling of type yarn (Peng et al. 2023), as transformers and llama.cpp
// compute it: pairs that turn less than beta_slow times within the original
// context have their frequencies divided by `factor`, those that turn more than
// beta_fast times keep them, with a ramp over the pairs between. Cosines and
// sines are multiplied by attention_factor.
struct YarnRopeScaling {
  double factor = 1;
  double original_max_position_embeddings = 0;
  double attention_factor = 1;
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;  // the ramp's ends are whole pairs
};

// attention_factor where a file has none: 0.1 ln(factor) + 1.
double DefaultYarnAttentionFactor(double factor);

// The hyperparameters of a decoder, named as in Hugging Face's config.json.
struct ModelConfig {
  Architecture architecture = Architecture::kQwen3;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;  // in Qwen3 not hidden_size / num_attention_heads
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 0;
  double rope_theta = 0;
  double rope_linear_factor = 1;  // rope_scaling {"type": "linear"}
  std::optional<Llama3RopeScaling> llama3_rope_scaling;
  std::optional<YarnRopeScaling> yarn_rope_scaling;
  // Divisor of each pair's frequency, or empty: GGUF's rope_freqs.weight, into
  // which its converter turns llama3_rope_scaling.
  std::vector<double> rope_divisors;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;     // Qwen2; Llama and Qwen3 with attention_bias
  bool output_bias = false;  // o_proj: Llama and Qwen3 with attention_bias
  bool mlp_bias = false;     // gate_proj, up_proj, down_proj: Llama's
  bool qk_norm = false;      // Qwen3: RMSNorm of each head of q and k
  // Positions that a query sees in some layer, its own included; 0 for all.
  // What is longer is not computed.
  int64_t sliding_window = 0;
  std::vector<int64_t> eos_token_ids;

  int64_t q_size() const { return num_attention_heads * head_dim; }
  int64_t kv_size() const { return num_key_value_heads * head_dim; }
};

// Parses the text of a config.json; `file` is only for messages. Refuses by
// name any architecture, activation, rope_scaling or attention variant that
// the pipeline does not compute, rather than computing something else.
absl::StatusOr<ModelConfig> ParseConfig(absl::string_view json,
                                        absl::string_view file);

// Every size positive and within limits, heads a multiple of KV heads, head_dim
// even, eps and theta positive and finite. All loaders call it.
absl::Status ValidateConfig(const ModelConfig& config, absl::string_view file);

}  // namespace ulpscope

#endif  // MODEL_ARCHITECTURE_CONFIG_H_
