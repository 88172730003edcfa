#include "model/checkpoint/gguf_config.h"

#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/files/tensor.h"

namespace ulpscope {
namespace {

// Reads metadata, remembering the first error.
class Values {
 public:
  explicit Values(const GgufFile& gguf) : gguf_(gguf) {}

  bool Has(absl::string_view key) const {
    return gguf_.FindValue(key) != nullptr;
  }

  int64_t Integer(absl::string_view key, std::optional<int64_t> missing) {
    const GgufValue* value = gguf_.FindValue(key);
    if (value == nullptr) return OrFail(key, missing, "an integer");
    if (const int64_t* stored = std::get_if<int64_t>(value)) return *stored;
    const uint64_t* stored = std::get_if<uint64_t>(value);
    if (stored == nullptr || *stored > std::numeric_limits<int64_t>::max()) {
      Fail(key, "an integer", stored ? absl::StrCat(*stored) : Kind(*value));
      return 0;
    }
    return static_cast<int64_t>(*stored);
  }

  double Float(absl::string_view key, std::optional<double> missing) {
    const GgufValue* value = gguf_.FindValue(key);
    if (value == nullptr) return OrFail(key, missing, "a float");
    if (const double* stored = std::get_if<double>(value)) return *stored;
    Fail(key, "a float", Kind(*value));
    return 0;
  }

  absl::string_view String(absl::string_view key,
                           std::optional<absl::string_view> missing) {
    const GgufValue* value = gguf_.FindValue(key);
    if (value == nullptr) return OrFail(key, missing, "a string");
    if (const auto* stored = std::get_if<absl::string_view>(value)) {
      return *stored;
    }
    Fail(key, "a string", Kind(*value));
    return "";
  }

  void Fail(absl::string_view key, absl::string_view expected,
            absl::string_view found) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(
        absl::StrCat(gguf_.file().path(), ": metadata ", NameText(key),
                     ": expected ", expected, ", found ", found));
  }

  const absl::Status& status() const { return status_; }

 private:
  static std::string Kind(const GgufValue& value) {
    constexpr absl::string_view kKinds[] = {"a bool",     "an integer",
                                            "an integer", "a float",
                                            "a string",   "an array"};
    return std::string(kKinds[value.index()]);
  }

  template <class T>
  T OrFail(absl::string_view key, std::optional<T> missing,
           absl::string_view expected) {
    if (!missing) Fail(key, expected, "nothing");
    return missing.value_or(T());
  }

  const GgufFile& gguf_;
  absl::Status status_;
};

void ReadArchitecture(Values& values, absl::string_view name,
                      ModelConfig& config) {
  if (name == "llama") {
    config.architecture = Architecture::kLlama;
  } else if (name == "qwen2") {
    config.architecture = Architecture::kQwen2;
  } else if (name == "qwen3") {
    config.architecture = Architecture::kQwen3;
  } else {
    values.Fail("general.architecture", "llama, qwen2 or qwen3",
                NameText(name));
  }
}

void ReadRope(Values& values, absl::string_view arch, ModelConfig& config) {
  const std::string prefix = absl::StrCat(arch, ".rope.");
  config.rope_theta = values.Float(absl::StrCat(prefix, "freq_base"), 10000);
  const std::string count_key = absl::StrCat(prefix, "dimension_count");
  const int64_t rotated = values.Integer(count_key, config.head_dim);
  if (rotated != config.head_dim) {
    values.Fail(count_key, absl::StrCat("all of head_dim ", config.head_dim),
                absl::StrCat(rotated));
  }
  const std::string type_key = absl::StrCat(prefix, "scaling.type");
  const std::string factor_key = absl::StrCat(prefix, "scaling.factor");
  // Files without a type are linear; the oldest call the factor scale_linear.
  const absl::string_view type = values.String(type_key, "linear");
  if (type == "linear") {
    const double factor = values.Float(
        factor_key, values.Float(absl::StrCat(prefix, "scale_linear"), 1));
    // As in llama.cpp, 0 is "not scaled".
    config.rope_linear_factor = factor == 0 ? 1 : factor;
  } else if (type == "yarn") {
    // llama.cpp multiplies its own attention factor by that of the file.
    YarnRopeScaling yarn;
    yarn.factor = values.Float(factor_key, std::nullopt);
    yarn.original_max_position_embeddings = static_cast<double>(
        values.Integer(absl::StrCat(prefix, "scaling.original_context_length"),
                       config.max_position_embeddings));
    yarn.attention_factor =
        values.Float(absl::StrCat(prefix, "scaling.attn_factor"), 1) *
        DefaultYarnAttentionFactor(yarn.factor);
    yarn.beta_fast = values.Float(
        absl::StrCat(prefix, "scaling.yarn_beta_fast"), yarn.beta_fast);
    yarn.beta_slow = values.Float(
        absl::StrCat(prefix, "scaling.yarn_beta_slow"), yarn.beta_slow);
    const std::string ext_key = absl::StrCat(prefix, "scaling.yarn_ext_factor");
    if (values.Float(ext_key, 1) != 1) values.Fail(ext_key, "1", "another");
    config.yarn_rope_scaling = yarn;
  } else if (type != "none") {
    values.Fail(type_key, "none, linear or yarn", NameText(type));
  }
}

// What would change the mathematics.
void RefuseVariants(Values& values, absl::string_view arch) {
  const struct {
    std::string key;
    int64_t expected;
  } fixed[] = {
      {absl::StrCat(arch, ".expert_count"), 0},
      {absl::StrCat(arch, ".attention.sliding_window"), 0},
  };
  for (const auto& [key, expected] : fixed) {
    const int64_t found = values.Integer(key, expected);
    if (found != expected && found != 0) {
      values.Fail(key, absl::StrCat(expected), absl::StrCat(found));
    }
  }
}

// Llama 3.1's converter folds rope_scaling into a tensor of divisors.
absl::Status ReadRopeDivisors(const GgufFile& gguf, ModelConfig& config) {
  const GgufTensor* tensor = gguf.FindTensor("rope_freqs.weight");
  if (tensor == nullptr) return absl::OkStatus();
  if (tensor->type->dtype != DType::kF32 || tensor->shape.size() != 1 ||
      tensor->shape[0] * 2 != config.head_dim) {
    return absl::InvalidArgumentError(absl::StrCat(
        gguf.file().path(), ": tensor \"rope_freqs.weight\": expected F32 ",
        ShapeText({config.head_dim / 2}), ", found ", tensor->type->name, " ",
        ShapeText(tensor->shape)));
  }
  for (size_t i = 0; i < tensor->bytes.size(); i += sizeof(float)) {
    float divisor;
    std::memcpy(&divisor, tensor->bytes.data() + i, sizeof(divisor));
    config.rope_divisors.push_back(divisor);
  }
  return absl::OkStatus();
}

// Rows of the token embedding, the last resort for the size of the vocabulary.
int64_t EmbeddingRows(const GgufFile& gguf) {
  const GgufTensor* tensor = gguf.FindTensor("token_embd.weight");
  return tensor == nullptr || tensor->shape.size() != 2 ? 0 : tensor->shape[0];
}

}  // namespace

absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& gguf) {
  Values values(gguf);
  ModelConfig config;
  const absl::string_view arch =
      values.String("general.architecture", std::nullopt);
  ReadArchitecture(values, arch, config);
  if (!values.status().ok()) return values.status();
  RefuseVariants(values, arch);
  const auto required = [&](absl::string_view key) {
    return values.Integer(absl::StrCat(arch, key), std::nullopt);
  };
  config.hidden_size = required(".embedding_length");
  config.intermediate_size = required(".feed_forward_length");
  config.num_hidden_layers = required(".block_count");
  config.num_attention_heads = required(".attention.head_count");
  config.max_position_embeddings = required(".context_length");
  config.num_key_value_heads =
      values.Integer(absl::StrCat(arch, ".attention.head_count_kv"),
                     config.num_attention_heads);
  config.rms_norm_eps = values.Float(
      absl::StrCat(arch, ".attention.layer_norm_rms_epsilon"), std::nullopt);
  if (!values.status().ok()) return values.status();

  const std::string head_key = absl::StrCat(arch, ".attention.key_length");
  if (values.Has(head_key)) {
    config.head_dim = values.Integer(head_key, std::nullopt);
  } else if (config.num_attention_heads > 0 &&
             config.hidden_size % config.num_attention_heads == 0) {
    config.head_dim = config.hidden_size / config.num_attention_heads;
  } else {
    values.Fail(head_key, "it, or a multiple of the heads in embedding_length",
                absl::StrCat(config.hidden_size, " and ",
                             config.num_attention_heads, " heads"));
  }
  const std::string value_key = absl::StrCat(arch, ".attention.value_length");
  const int64_t value_length = values.Integer(value_key, config.head_dim);
  if (value_length != config.head_dim) {
    values.Fail(value_key, absl::StrCat("key_length ", config.head_dim),
                absl::StrCat(value_length));
  }
  ReadRope(values, arch, config);

  config.vocab_size = EmbeddingRows(gguf);
  if (const GgufValue* tokens = gguf.FindValue("tokenizer.ggml.tokens")) {
    const GgufArray* array = std::get_if<GgufArray>(tokens);
    if (array == nullptr) {
      values.Fail("tokenizer.ggml.tokens", "an array", "a scalar");
    } else {
      // At most the file's size, hence no overflow.
      config.vocab_size = static_cast<int64_t>(array->count);
    }
  }
  config.vocab_size =
      values.Integer(absl::StrCat(arch, ".vocab_size"), config.vocab_size);
  const int64_t eos = values.Integer("tokenizer.ggml.eos_token_id", -1);
  if (eos >= 0) config.eos_token_ids.push_back(eos);

  config.tie_word_embeddings = gguf.FindTensor("output.weight") == nullptr;
  config.qkv_bias = gguf.FindTensor("blk.0.attn_q.bias") != nullptr;
  config.output_bias = gguf.FindTensor("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = gguf.FindTensor("blk.0.ffn_gate.bias") != nullptr;
  config.qk_norm = config.architecture == Architecture::kQwen3;
  if (!values.status().ok()) return values.status();
  absl::Status status = ReadRopeDivisors(gguf, config);
  if (status.ok()) status = ValidateConfig(config, gguf.file().path());
  if (!status.ok()) return status;
  return config;
}

}  // namespace ulpscope
