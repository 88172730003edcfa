#include "model/architecture/config.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "model/files/strict_json.h"
#include "model/files/tensor.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

constexpr Architecture kArchitectures[] = {
    Architecture::kQwen3, Architecture::kQwen2, Architecture::kLlama};

// A scalar as the file has it; only its kind if it is a container.
std::string ValueText(const Json& value) {
  if (value.is_string()) return NameText(value.get_ref<const std::string&>());
  if (value.is_structured()) return value.type_name();
  return value.dump();
}

// Reads fields of a JSON object, remembering the first error. null counts as
// missing, as Python's None does.
class Fields {
 public:
  // `prefix` is that of nested keys in messages: "rope_scaling.".
  Fields(const Json& object, absl::string_view file, absl::string_view prefix)
      : object_(object), file_(file), prefix_(prefix) {}

  // Null if missing.
  const Json* Find(absl::string_view key) const {
    const auto it = object_.find(std::string(key));
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  int64_t Integer(absl::string_view key, std::optional<int64_t> missing) {
    const Json* value = Find(key);
    if (value == nullptr) return OrFail(key, missing, "an integer");
    // Beyond int64 nlohmann holds it as unsigned, and get would wrap.
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() &&
         value->get<uint64_t>() > std::numeric_limits<int64_t>::max())) {
      Fail(key, "an integer", ValueText(*value));
      return 0;
    }
    return value->get<int64_t>();
  }

  double Number(absl::string_view key, std::optional<double> missing) {
    const Json* value = Find(key);
    if (value == nullptr) return OrFail(key, missing, "a number");
    if (!value->is_number()) {
      Fail(key, "a number", ValueText(*value));
      return 0;
    }
    return value->get<double>();
  }

  bool Bool(absl::string_view key, bool missing) {
    const Json* value = Find(key);
    if (value == nullptr) return missing;
    if (!value->is_boolean()) {
      Fail(key, "true or false", ValueText(*value));
      return missing;
    }
    return value->get<bool>();
  }

  std::string String(absl::string_view key, absl::string_view missing) {
    const Json* value = Find(key);
    if (value == nullptr) return std::string(missing);
    if (!value->is_string()) {
      Fail(key, "a string", ValueText(*value));
      return std::string(missing);
    }
    return value->get<std::string>();
  }

  void Fail(absl::string_view key, absl::string_view expected,
            absl::string_view found) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat(
        file_, ": ", prefix_, key, ": expected ", expected, ", found ", found));
  }

  const absl::Status& status() const { return status_; }

 private:
  template <class T>
  T OrFail(absl::string_view key, std::optional<T> missing,
           absl::string_view expected) {
    if (!missing) Fail(key, expected, "nothing");
    return missing.value_or(T());
  }

  const Json& object_;
  const absl::string_view file_;
  const absl::string_view prefix_;
  absl::Status status_;
};

void ReadArchitecture(Fields& fields, ModelConfig& config) {
  const Json* names = fields.Find("architectures");
  if (names == nullptr || !names->is_array() || names->size() != 1 ||
      !names->front().is_string()) {
    fields.Fail("architectures", "an array of one name",
                names == nullptr ? "nothing" : names->type_name());
    return;
  }
  std::string known;
  for (const Architecture architecture : kArchitectures) {
    const absl::string_view name = ArchitectureName(architecture);
    if (names->front().get_ref<const std::string&>() == name) {
      config.architecture = architecture;
      return;
    }
    absl::StrAppend(&known, known.empty() ? "" : " or ", name);
  }
  fields.Fail("architectures", known, ValueText(names->front()));
}

// Variants of attention and MLP that would change the mathematics.
void RefuseVariants(Fields& fields) {
  const std::string activation = fields.String("hidden_act", "silu");
  if (activation != "silu") {
    fields.Fail("hidden_act", "\"silu\"", NameText(activation));
  }
  const int64_t parallel = fields.Integer("pretraining_tp", 1);
  if (parallel != 1) fields.Fail("pretraining_tp", "1", absl::StrCat(parallel));
  const double rotated = fields.Number("partial_rotary_factor", 1);
  if (rotated != 1) {
    fields.Fail("partial_rotary_factor", "1", absl::StrCat(rotated));
  }
  if (const Json* found = fields.Find("quantization_config")) {
    const auto method =
        found->is_object() ? found->find("quant_method") : found->end();
    const bool is_named = found->is_object() && method != found->end();
    // Whose tensors bring their scales; loaders check them.
    if (!is_named || *method != "fp8") {
      fields.Fail("quantization_config", "unquantized weights or \"fp8\"",
                  is_named ? ValueText(*method) : found->type_name());
    }
  }
}

// The window of the layers that have one; 0 if all see everything. Before
// transformers wrote layer_types, those from max_window_layers on had one.
int64_t ReadSlidingWindow(Fields& fields, int64_t num_layers) {
  bool has_windows = false;
  if (const Json* types = fields.Find("layer_types")) {
    if (!types->is_array()) {
      fields.Fail("layer_types", "an array", ValueText(*types));
      return 0;
    }
    for (const Json& type : *types) {
      if (type == "sliding_attention") {
        has_windows = true;
      } else if (type != "full_attention") {
        fields.Fail("layer_types",
                    "only \"full_attention\" and \"sliding_attention\"",
                    ValueText(type));
        return 0;
      }
    }
  } else {
    has_windows = fields.Bool("use_sliding_window", false) &&
                  fields.Integer("max_window_layers", 0) < num_layers;
  }
  if (!has_windows) return 0;
  const int64_t window = fields.Integer("sliding_window", std::nullopt);
  if (window < 1) {
    fields.Fail("sliding_window", "a positive number", absl::StrCat(window));
  }
  return window;
}

YarnRopeScaling ReadYarn(Fields& rope, const ModelConfig& config) {
  YarnRopeScaling yarn;
  yarn.original_max_position_embeddings =
      rope.Number("original_max_position_embeddings",
                  static_cast<double>(config.max_position_embeddings));
  yarn.factor = rope.Number("factor", std::nullopt);
  yarn.attention_factor =
      rope.Number("attention_factor", DefaultYarnAttentionFactor(yarn.factor));
  yarn.beta_fast = rope.Number("beta_fast", yarn.beta_fast);
  yarn.beta_slow = rope.Number("beta_slow", yarn.beta_slow);
  yarn.truncate = rope.Bool("truncate", true);
  for (const char* const key : {"mscale", "mscale_all_dim"}) {
    if (rope.Find(key) != nullptr) {
      rope.Fail(key, "nothing, with yarn", "a value");
    }
  }
  return yarn;
}

// Transformers 4 writes rope_theta and rope_scaling, transformers 5 puts both
// into rope_parameters.
absl::Status ReadRope(Fields& fields, absl::string_view file,
                      ModelConfig& config) {
  config.rope_theta = fields.Number("rope_theta", 10000);
  const Json* scaling = fields.Find("rope_scaling");
  const Json* parameters = fields.Find("rope_parameters");
  if (scaling != nullptr && parameters != nullptr && *scaling != *parameters) {
    fields.Fail("rope_scaling", "the same as rope_parameters",
                "different values");
  }
  const absl::string_view key =
      parameters != nullptr ? "rope_parameters" : "rope_scaling";
  const Json* object = parameters != nullptr ? parameters : scaling;
  if (object == nullptr) return fields.status();
  if (!object->is_object()) {
    fields.Fail(key, "an object", ValueText(*object));
    return fields.status();
  }
  for (const auto& [name, value] : object->items()) {
    // One object per layer type: more than one RoPE in a model.
    if (value.is_structured()) {
      fields.Fail(absl::StrCat(key, ".", absl::CHexEscape(name)), "a scalar",
                  value.type_name());
    }
  }
  const std::string prefix = absl::StrCat(key, ".");
  Fields rope(*object, file, prefix);
  config.rope_theta = rope.Number("rope_theta", config.rope_theta);
  if (rope.Number("partial_rotary_factor", 1) != 1) {
    rope.Fail("partial_rotary_factor", "1", "another value");
  }
  const std::string type =
      rope.String("rope_type", rope.String("type", "default"));
  if (type == "linear") {
    config.rope_linear_factor = rope.Number("factor", std::nullopt);
  } else if (type == "llama3") {
    Llama3RopeScaling llama3;
    llama3.factor = rope.Number("factor", std::nullopt);
    llama3.low_freq_factor = rope.Number("low_freq_factor", std::nullopt);
    llama3.high_freq_factor = rope.Number("high_freq_factor", std::nullopt);
    llama3.original_max_position_embeddings =
        rope.Number("original_max_position_embeddings", std::nullopt);
    config.llama3_rope_scaling = llama3;
  } else if (type == "yarn") {
    config.yarn_rope_scaling = ReadYarn(rope, config);
  } else if (type != "default") {
    rope.Fail("rope_type", "default, linear, llama3 or yarn", NameText(type));
  }
  return fields.status().ok() ? rope.status() : fields.status();
}

void ReadEosTokens(Fields& fields, ModelConfig& config) {
  const Json* found = fields.Find("eos_token_id");
  if (found == nullptr) return;
  const Json list = found->is_array() ? *found : Json::array({*found});
  for (const Json& id : list) {
    if (!id.is_number_unsigned() ||
        id.get<uint64_t>() > std::numeric_limits<int32_t>::max()) {
      fields.Fail("eos_token_id", "token ids", ValueText(id));
      return;
    }
    config.eos_token_ids.push_back(id.get<int64_t>());
  }
}

}  // namespace

double DefaultYarnAttentionFactor(double factor) {
  return factor <= 1 ? 1 : 0.1 * std::log(factor) + 1;
}

absl::string_view ArchitectureName(Architecture architecture) {
  switch (architecture) {
    case Architecture::kQwen3:
      return "Qwen3ForCausalLM";
    case Architecture::kQwen2:
      return "Qwen2ForCausalLM";
    case Architecture::kLlama:
      return "LlamaForCausalLM";
  }
  return "";
}

absl::StatusOr<ModelConfig> ParseConfig(absl::string_view json,
                                        absl::string_view file) {
  const absl::StatusOr<Json> object = ParseJsonObject(json, file);
  if (!object.ok()) return object.status();
  Fields fields(*object, file, "");
  ModelConfig config;
  ReadArchitecture(fields, config);
  RefuseVariants(fields);
  const auto required = [&](absl::string_view key) {
    return fields.Integer(key, std::nullopt);
  };
  config.vocab_size = required("vocab_size");
  config.hidden_size = required("hidden_size");
  config.intermediate_size = required("intermediate_size");
  config.num_hidden_layers = required("num_hidden_layers");
  config.num_attention_heads = required("num_attention_heads");
  config.max_position_embeddings = required("max_position_embeddings");
  if (!fields.status().ok()) return fields.status();

  const bool is_qwen2 = config.architecture == Architecture::kQwen2;
  const bool is_qwen3 = config.architecture == Architecture::kQwen3;
  config.num_key_value_heads =
      fields.Integer("num_key_value_heads", config.num_attention_heads);
  if (is_qwen3) {
    config.head_dim = fields.Integer("head_dim", 128);  // Qwen3Config's
  } else if (fields.Find("head_dim") != nullptr) {
    config.head_dim = fields.Integer("head_dim", std::nullopt);
  } else if (config.num_attention_heads > 0 &&
             config.hidden_size % config.num_attention_heads == 0) {
    config.head_dim = config.hidden_size / config.num_attention_heads;
  } else {
    fields.Fail("hidden_size",
                absl::StrCat("a multiple of num_attention_heads ",
                             config.num_attention_heads),
                absl::StrCat(config.hidden_size));
  }
  config.rms_norm_eps = fields.Number("rms_norm_eps", 1e-6);
  config.tie_word_embeddings = fields.Bool("tie_word_embeddings", false);
  // Qwen2's code has biases in q, k and v, whatever its config says.
  const bool attention_bias = fields.Bool("attention_bias", false);
  config.qkv_bias = is_qwen2 || attention_bias;
  config.output_bias = !is_qwen2 && attention_bias;
  config.mlp_bias = config.architecture == Architecture::kLlama &&
                    fields.Bool("mlp_bias", false);
  config.qk_norm = is_qwen3;
  config.sliding_window = ReadSlidingWindow(fields, config.num_hidden_layers);
  ReadEosTokens(fields, config);
  absl::Status status = ReadRope(fields, file, config);
  if (status.ok()) status = ValidateConfig(config, file);
  if (!status.ok()) return status;
  return config;
}

absl::Status ValidateConfig(const ModelConfig& config, absl::string_view file) {
  const auto error = [&](absl::string_view key, absl::string_view expected,
                         auto found) {
    return absl::InvalidArgumentError(absl::StrCat(
        file, ": ", key, ": expected ", expected, ", found ", found));
  };
  // With 2^24 for a size and 2^12 layers no sum below passes 2^63.
  constexpr int64_t kMaxSize = int64_t{1} << 24;
  constexpr int64_t kMaxLayers = int64_t{1} << 12;
  constexpr int64_t kMaxParameters = int64_t{1} << 44;
  const struct {
    absl::string_view key;
    int64_t value;
    int64_t limit;
  } sizes[] = {
      {"vocab_size", config.vocab_size, kMaxSize},
      {"hidden_size", config.hidden_size, kMaxSize},
      {"intermediate_size", config.intermediate_size, kMaxSize},
      {"num_hidden_layers", config.num_hidden_layers, kMaxLayers},
      {"num_attention_heads", config.num_attention_heads, kMaxSize},
      {"num_key_value_heads", config.num_key_value_heads, kMaxSize},
      {"head_dim", config.head_dim, kMaxSize},
      {"max_position_embeddings", config.max_position_embeddings, kMaxSize},
  };
  for (const auto& size : sizes) {
    if (size.value < 1 || size.value > size.limit) {
      return error(size.key, absl::StrCat("1 to ", size.limit), size.value);
    }
  }
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    return error("num_key_value_heads",
                 absl::StrCat("a divisor of num_attention_heads ",
                              config.num_attention_heads),
                 config.num_key_value_heads);
  }
  if (config.head_dim % 2 != 0) {
    return error("head_dim", "an even number (RoPE rotates pairs)",
                 config.head_dim);
  }
  if (config.q_size() > kMaxSize) {
    return error("num_attention_heads * head_dim",
                 absl::StrCat("at most ", kMaxSize), config.q_size());
  }
  const int64_t per_layer =
      2 * config.hidden_size * (config.q_size() + config.kv_size()) +
      3 * config.hidden_size * config.intermediate_size;
  const int64_t parameters = config.num_hidden_layers * per_layer +
                             2 * config.vocab_size * config.hidden_size;
  if (parameters > kMaxParameters) {
    return error("number of parameters",
                 absl::StrCat("at most ", kMaxParameters), parameters);
  }

  const auto positive = [](double x) { return x > 0 && std::isfinite(x); };
  const struct {
    absl::string_view key;
    double value;
  } numbers[] = {
      {"rms_norm_eps", config.rms_norm_eps},
      {"rope_theta", config.rope_theta},
      {"rope_scaling.factor", config.rope_linear_factor},
  };
  for (const auto& number : numbers) {
    if (!positive(number.value)) {
      return error(number.key, "a positive number", number.value);
    }
  }
  if (config.llama3_rope_scaling) {
    const Llama3RopeScaling& scaling = *config.llama3_rope_scaling;
    if (!positive(scaling.factor) || !positive(scaling.low_freq_factor) ||
        !positive(scaling.high_freq_factor) ||
        !positive(scaling.original_max_position_embeddings) ||
        scaling.high_freq_factor <= scaling.low_freq_factor) {
      return error("rope_scaling",
                   "positive factors, high_freq_factor > low_freq_factor",
                   absl::StrCat("factor ", scaling.factor, ", low ",
                                scaling.low_freq_factor, ", high ",
                                scaling.high_freq_factor, ", original ",
                                scaling.original_max_position_embeddings));
    }
  }
  if (config.yarn_rope_scaling) {
    const YarnRopeScaling& yarn = *config.yarn_rope_scaling;
    if (!positive(yarn.factor) || !positive(yarn.attention_factor) ||
        !positive(yarn.beta_slow) || !positive(yarn.beta_fast) ||
        !positive(yarn.original_max_position_embeddings) ||
        yarn.beta_fast <= yarn.beta_slow || config.rope_theta <= 1) {
      return error(
          "rope_scaling",
          "positive numbers, beta_fast > beta_slow, rope_theta > 1",
          absl::StrCat("factor ", yarn.factor, ", attention_factor ",
                       yarn.attention_factor, ", beta_fast ", yarn.beta_fast,
                       ", beta_slow ", yarn.beta_slow, ", original ",
                       yarn.original_max_position_embeddings));
    }
  }
  if (!config.rope_divisors.empty() &&
      static_cast<int64_t>(config.rope_divisors.size()) !=
          config.head_dim / 2) {
    return error("rope_freqs.weight",
                 absl::StrCat(config.head_dim / 2, " values"),
                 config.rope_divisors.size());
  }
  for (const double divisor : config.rope_divisors) {
    if (!positive(divisor)) {
      return error("rope_freqs.weight", "positive numbers", divisor);
    }
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
