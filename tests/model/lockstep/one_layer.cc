#include "tests/model/lockstep/one_layer.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/ops/panels.h"
#include "model/architecture/config.h"

namespace ulpscope {
namespace {

Panels RandomPanels(size_t n, size_t k, Random& random) {
  std::vector<float> values(n * k);
  for (float& x : values) x = static_cast<float>(random.Uniform(-1, 1));
  Parallel parallel;
  return {DType::kF32, values.data(), n, k, parallel};
}

}  // namespace

Weights OneLayer(size_t hidden, size_t heads, size_t vocab) {
  constexpr size_t kMlp = 64;
  Random random(5);
  Weights weights;
  ModelConfig& config = weights.config;
  config.vocab_size = static_cast<int64_t>(vocab);
  config.hidden_size = config.head_dim = static_cast<int64_t>(hidden);
  config.intermediate_size = kMlp;
  config.num_hidden_layers = 1;
  config.num_attention_heads = static_cast<int64_t>(heads);
  config.num_key_value_heads = 1;
  config.rms_norm_eps = 1e-6;
  config.rope_theta = 1e4;
  config.tie_word_embeddings = config.qkv_bias = true;
  weights.embed = RandomPanels(vocab, hidden, random);
  weights.final_norm.assign(hidden, 1);
  weights.layers.resize(1);
  LayerWeights& layer = weights.layers[0];
  layer.input_norm = layer.post_norm = weights.final_norm;
  const size_t q_size = heads * hidden;
  layer.q_proj = RandomPanels(q_size, hidden, random);
  layer.k_proj = RandomPanels(hidden, hidden, random);
  layer.v_proj = RandomPanels(hidden, hidden, random);
  layer.o_proj = RandomPanels(hidden, q_size, random);
  layer.q_bias.resize(q_size);
  for (double& x : layer.q_bias) x = random.Uniform(-1, 1);
  layer.k_bias = layer.v_bias = weights.final_norm;
  layer.gate_proj = RandomPanels(kMlp, hidden, random);
  layer.up_proj = RandomPanels(kMlp, hidden, random);
  layer.down_proj = RandomPanels(hidden, kMlp, random);
  return weights;
}

}  // namespace ulpscope
