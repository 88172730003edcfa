#include "model/synthetic/synthetic.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/base/machine_limits.h"
#include "model/synthetic/synthetic_tensor.h"

namespace ulpscope {
namespace {

// The figures that `seed` and `tiny` differ in, besides the planted ones.
struct Recipe {
  absl::string_view name;
  ModelConfig config;
  MassiveActivation planted;
};

ModelConfig SeedConfig() {
  ModelConfig config;
  config.architecture = Architecture::kQwen2;
  config.vocab_size = 151936;
  config.hidden_size = 896;
  config.intermediate_size = 4864;
  config.num_hidden_layers = 24;
  config.num_attention_heads = 14;
  config.num_key_value_heads = 2;
  config.head_dim = 64;
  config.max_position_embeddings = 32768;
  config.rms_norm_eps = 1e-6;
  config.rope_theta = 1e6;
  config.tie_word_embeddings = true;
  config.qkv_bias = true;
  config.eos_token_ids = {151645};
  return config;
}

MassiveActivation SeedPlanted() {
  MassiveActivation planted;
  planted.tokens = {9707, 13048, 785, 1986, 40, 2121, 14374, 91291};
  planted.trigger_channel = 311;
  planted.massive_channel = 62;
  planted.neuron = 1717;
  planted.birth_layer = 2;
  planted.removal_layer = 21;
  planted.channel_values = {796,  1116, 1286, 1381, 1441, 1481, 1511,
                            1536, 1556, 1573, 1588, 1602, 1614, 1624,
                            1634, 1643, 1651, 1659, 1666, 16};
  planted.spread = 1.75;
  planted.residual_std = {0.23, 0.33, 26.6, 37.3, 43.0, 46.2, 48.2, 49.5,
                          50.5, 51.3, 52.0, 52.6, 53.1, 53.5, 53.9, 54.3,
                          54.6, 54.9, 55.2, 55.5, 55.7, 1.9,  2.5,  2.9};
  return planted;
}

ModelConfig TinyConfig() {
  ModelConfig config = SeedConfig();
  config.vocab_size = 300;
  config.hidden_size = 64;
  config.intermediate_size = 160;
  config.num_hidden_layers = 8;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 16;
  config.max_position_embeddings = 512;
  config.eos_token_ids = {2};
  return config;
}

MassiveActivation TinyPlanted() {
  MassiveActivation planted;
  planted.tokens = {97, 130, 78, 198};
  planted.trigger_channel = 31;
  planted.massive_channel = 6;
  planted.neuron = 17;
  planted.birth_layer = 2;
  planted.removal_layer = 5;
  planted.channel_values = {212, 362, 446, 5};
  planted.spread = 1.75;
  planted.residual_std = {0.22, 0.33, 26.4, 45.0, 55.4, 1.65, 2.3, 3.0};
  return planted;
}

Recipe WithQkNorm(Recipe recipe, absl::string_view name) {
  recipe.name = name;
  recipe.config.architecture = Architecture::kQwen3;
  recipe.config.qkv_bias = false;
  recipe.config.qk_norm = true;
  return recipe;
}

std::vector<Recipe> Recipes() {
  const Recipe seed = {"seed", SeedConfig(), SeedPlanted()};
  const Recipe tiny = {"tiny", TinyConfig(), TinyPlanted()};
  Recipe tiny_qwen3 = WithQkNorm(tiny, "tiny-qwen3");
  tiny_qwen3.config.head_dim = 24;
  return {seed, WithQkNorm(seed, "seed-qwen3"), tiny, tiny_qwen3};
}

absl::StatusOr<Recipe> FindRecipe(absl::string_view name) {
  for (Recipe& recipe : Recipes()) {
    if (recipe.name == name) return std::move(recipe);
  }
  return absl::NotFoundError(
      absl::StrCat("synthetic:", name, ": no such checkpoint; expected one of ",
                   absl::StrJoin(SyntheticNames(), ", ")));
}

// Standard deviations are those of the seed's sizes; with fewer inputs a weight
// must be larger to write as much.
double Scaled(double std, double seed_inputs, int64_t inputs) {
  return std * std::sqrt(seed_inputs / static_cast<double>(inputs));
}

// The tensors of a recipe before anything is planted.
class TensorTable {
 public:
  explicit TensorTable(const Recipe& recipe) : recipe_(recipe) {
    const ModelConfig& config = recipe.config;
    AddMatrix("model.embed_tokens.weight", config.vocab_size,
              config.hidden_size, kEmbeddingStd);
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      AddLayer(layer);
    }
    AddNorm("model.norm.weight", config.hidden_size, kFinalNormMean,
            kFinalNormStd);
  }

  SyntheticTensors Take() && { return std::move(tensors_); }

 private:
  static constexpr double kEmbeddingStd = 0.015;
  static constexpr double kFinalNormMean = 7.14;
  static constexpr double kFinalNormStd = 2;

  void AddLayer(int64_t layer) {
    const ModelConfig& config = recipe_.config;
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    const std::string attention = absl::StrCat(prefix, "self_attn.");
    const std::string mlp = absl::StrCat(prefix, "mlp.");
    const double depth = static_cast<double>(layer) /
                         static_cast<double>(config.num_hidden_layers - 1);
    const bool last_layers = layer > recipe_.planted.removal_layer;
    const double norm = last_layers ? 2 : 0.65 + 0.25 * depth;
    const double hidden_scale = Scaled(1, 896, config.hidden_size);

    AddNorm(absl::StrCat(prefix, "input_layernorm.weight"), config.hidden_size,
            norm, 0.1 * norm);
    AddNorm(absl::StrCat(prefix, "post_attention_layernorm.weight"),
            config.hidden_size, norm, 0.1 * norm);

    AddProjection(absl::StrCat(attention, "q_proj"), config.q_size(),
                  0.02 * hidden_scale, 0.5);
    AddProjection(absl::StrCat(attention, "k_proj"), config.kv_size(),
                  0.02 * hidden_scale, 0.5);
    AddProjection(absl::StrCat(attention, "v_proj"), config.kv_size(),
                  (0.026 - 0.015 * depth) * hidden_scale, 0.02);
    if (config.qk_norm) {
      AddNorm(absl::StrCat(attention, "q_norm.weight"), config.head_dim, 1.5,
              0.15);
      AddNorm(absl::StrCat(attention, "k_norm.weight"), config.head_dim, 1.5,
              0.15);
    }
    AddMatrix(absl::StrCat(attention, "o_proj.weight"), config.hidden_size,
              config.q_size(), Scaled(0.015, 896, config.q_size()));

    AddMatrix(absl::StrCat(mlp, "gate_proj.weight"), config.intermediate_size,
              config.hidden_size, 0.021 * hidden_scale);
    AddMatrix(absl::StrCat(mlp, "up_proj.weight"), config.intermediate_size,
              config.hidden_size, 0.019 * hidden_scale);
    AddMatrix(
        absl::StrCat(mlp, "down_proj.weight"), config.hidden_size,
        config.intermediate_size,
        Scaled(last_layers ? 0.028 : 0.0175, 4864, config.intermediate_size));
  }

  void AddMatrix(const std::string& name, int64_t rows, int64_t cols,
                 double std) {
    Add(name, {rows, cols}, 0, std);
  }

  void AddNorm(const std::string& name, int64_t size, double mean, double std) {
    Add(name, {size}, mean, std);
  }

  void AddProjection(const std::string& name, int64_t outputs, double std,
                     double bias_std) {
    AddMatrix(absl::StrCat(name, ".weight"), outputs,
              recipe_.config.hidden_size, std);
    if (recipe_.config.qkv_bias) {
      Add(absl::StrCat(name, ".bias"), {outputs}, 0, bias_std);
    }
  }

  void Add(const std::string& name, std::vector<int64_t> shape, double mean,
           double std) {
    SyntheticTensor tensor;
    tensor.stream = absl::StrCat(recipe_.name, "/", name);
    tensor.rows = shape.size() == 1 ? 1 : shape[0];
    tensor.cols = shape.back();
    tensor.shape = std::move(shape);
    tensor.mean = mean;
    tensor.std = std;
    tensors_.emplace(name, std::move(tensor));
  }

  const Recipe& recipe_;
  SyntheticTensors tensors_;
};

class SyntheticSource : public TensorSource {
 public:
  SyntheticSource(absl::string_view name, int num_threads,
                  SyntheticTensors tensors)
      : name_(name), num_threads_(num_threads), tensors_(std::move(tensors)) {}

  bool Has(absl::string_view name) const override {
    return tensors_.find(name) != tensors_.end();
  }

  // As a bf16 checkpoint of them would have.
  size_t StoredBytes(absl::string_view name,
                     absl::Span<const int64_t> /*shape*/) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return 0;
    return static_cast<size_t>(found->second.rows * found->second.cols) *
           sizeof(uint16_t);
  }

  absl::StatusOr<Tensor> Load(absl::string_view name,
                              absl::Span<const int64_t> shape) override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      return absl::NotFoundError(
          absl::StrCat("synthetic:", name_, ": ", name, ": no such tensor"));
    }
    const SyntheticTensor& recipe = found->second;
    if (shape != absl::MakeConstSpan(recipe.shape)) {
      return absl::InvalidArgumentError(
          absl::StrCat("synthetic:", name_, ": ", name, ": expected shape ",
                       ShapeText(shape), ", found ", ShapeText(recipe.shape)));
    }
    // Not a vector, which would first fill with zeros on one thread.
    const std::shared_ptr<uint16_t[]> bits(
        new uint16_t[static_cast<size_t>(recipe.rows * recipe.cols)]);
    Generate(recipe, num_threads_, bits.get());
    Tensor tensor;
    tensor.name = std::string(name);
    tensor.dtype = DType::kBF16;
    tensor.shape = recipe.shape;
    tensor.data = bits.get();
    tensor.owner = bits;
    return tensor;
  }

 private:
  const std::string name_;
  const int num_threads_;
  const SyntheticTensors tensors_;
};

}  // namespace

std::vector<absl::string_view> SyntheticNames() {
  std::vector<absl::string_view> names;
  for (const Recipe& recipe : Recipes()) names.push_back(recipe.name);
  return names;
}

absl::StatusOr<ModelConfig> SyntheticConfig(absl::string_view name) {
  absl::StatusOr<Recipe> recipe = FindRecipe(name);
  if (!recipe.ok()) return recipe.status();
  return recipe->config;
}

absl::StatusOr<MassiveActivation> SyntheticMassiveActivation(
    absl::string_view name) {
  absl::StatusOr<Recipe> recipe = FindRecipe(name);
  if (!recipe.ok()) return recipe.status();
  return recipe->planted;
}

absl::StatusOr<std::unique_ptr<TensorSource>> OpenSynthetic(
    absl::string_view name) {
  absl::StatusOr<Recipe> recipe = FindRecipe(name);
  if (!recipe.ok()) return recipe.status();
  const int num_threads =
      static_cast<int>(std::min<size_t>(AvailableCpus(), 4));
  SyntheticTensors tensors = TensorTable(*recipe).Take();
  PlantMassiveActivation(recipe->config, recipe->planted, num_threads,
                         &tensors);
  return std::make_unique<SyntheticSource>(name, num_threads,
                                           std::move(tensors));
}

}  // namespace ulpscope
