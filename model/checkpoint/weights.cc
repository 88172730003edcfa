#include "model/checkpoint/weights.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "model/architecture/config.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/fingerprint.h"
#include "model/files/tensor.h"

namespace ulpscope {
namespace {

// Loads tensors one after the other until one fails.
class Loader {
 public:
  Loader(const ModelConfig& config, TensorSource& source, Parallel& parallel,
         size_t total, absl::FunctionRef<void(size_t, size_t)> progress,
         const std::function<bool()>& stop)
      : fingerprint_(config),
        source_(source),
        parallel_(parallel),
        total_(total),
        progress_(progress),
        stop_(stop) {}

  void Matrix(const std::string& name, int64_t rows, int64_t cols,
              Panels& panels) {
    const int64_t shape[] = {rows, cols};
    Load(name, shape, rows, cols, panels);
  }

  void Vector(const std::string& name, int64_t size,
              std::vector<double>& vector) {
    const int64_t shape[] = {size};
    // A vector is a matrix of one row; reading it back widens it.
    Panels panels;
    Load(name, shape, 1, size, panels);
    if (!status_.ok()) return;
    vector.resize(static_cast<size_t>(size));
    panels.CopyRow(0, vector.data());
  }

  const absl::Status& status() const { return status_; }
  // Of what was loaded so far.
  std::string fingerprint() const { return fingerprint_.Text(); }

 private:
  void Load(const std::string& name, absl::Span<const int64_t> shape,
            int64_t rows, int64_t cols, Panels& panels) {
    if (!status_.ok()) return;
    const auto tensor = source_.Load(name, shape);
    status_ = tensor.status();
    if (!status_.ok()) return;
    const size_t n = static_cast<size_t>(rows), k = static_cast<size_t>(cols);
    auto packed =
        tensor->blocks != nullptr
            ? Panels::Pack(*tensor->blocks, tensor->data, n, k, parallel_)
            : Panels::Pack(tensor->dtype, tensor->data, n, k, parallel_);
    if (!packed.ok()) {
      status_ = absl::Status(
          packed.status().code(),
          absl::StrCat("tensor ", name, ": ", packed.status().message()));
      return;
    }
    panels = *std::move(packed);
    fingerprint_.Add(*tensor);
    progress_(++done_, total_);
    if (stop_ && stop_()) status_ = absl::CancelledError("stopped");
  }

  Fingerprint fingerprint_;
  TensorSource& source_;
  Parallel& parallel_;
  size_t total_;
  absl::FunctionRef<void(size_t, size_t)> progress_;
  const std::function<bool()>& stop_;
  size_t done_ = 0;
  absl::Status status_;
};

size_t TensorsPerLayer(const ModelConfig& config) {
  return 9 + (config.qkv_bias ? 3 : 0) + (config.output_bias ? 1 : 0) +
         (config.mlp_bias ? 3 : 0) + (config.qk_norm ? 2 : 0);
}

void LoadLayer(const ModelConfig& c, size_t index, Loader& loader,
               LayerWeights& w) {
  const std::string layer = absl::StrCat("model.layers.", index, ".");
  const std::string attn = layer + "self_attn.";
  const std::string mlp = layer + "mlp.";
  loader.Vector(layer + "input_layernorm.weight", c.hidden_size, w.input_norm);
  loader.Matrix(attn + "q_proj.weight", c.q_size(), c.hidden_size, w.q_proj);
  loader.Matrix(attn + "k_proj.weight", c.kv_size(), c.hidden_size, w.k_proj);
  loader.Matrix(attn + "v_proj.weight", c.kv_size(), c.hidden_size, w.v_proj);
  if (c.qkv_bias) {
    loader.Vector(attn + "q_proj.bias", c.q_size(), w.q_bias);
    loader.Vector(attn + "k_proj.bias", c.kv_size(), w.k_bias);
    loader.Vector(attn + "v_proj.bias", c.kv_size(), w.v_bias);
  }
  if (c.qk_norm) {
    loader.Vector(attn + "q_norm.weight", c.head_dim, w.q_norm);
    loader.Vector(attn + "k_norm.weight", c.head_dim, w.k_norm);
  }
  loader.Matrix(attn + "o_proj.weight", c.hidden_size, c.q_size(), w.o_proj);
  if (c.output_bias) {
    loader.Vector(attn + "o_proj.bias", c.hidden_size, w.o_bias);
  }
  loader.Vector(layer + "post_attention_layernorm.weight", c.hidden_size,
                w.post_norm);
  loader.Matrix(mlp + "gate_proj.weight", c.intermediate_size, c.hidden_size,
                w.gate_proj);
  loader.Matrix(mlp + "up_proj.weight", c.intermediate_size, c.hidden_size,
                w.up_proj);
  loader.Matrix(mlp + "down_proj.weight", c.hidden_size, c.intermediate_size,
                w.down_proj);
  if (c.mlp_bias) {
    loader.Vector(mlp + "gate_proj.bias", c.intermediate_size, w.gate_bias);
    loader.Vector(mlp + "up_proj.bias", c.intermediate_size, w.up_bias);
    loader.Vector(mlp + "down_proj.bias", c.hidden_size, w.down_bias);
  }
}

}  // namespace

size_t Weights::DecodeBytes() const {
  size_t bytes = LmHead().bytes();
  for (const LayerWeights& w : layers) {
    for (const Panels* panels : {&w.q_proj, &w.k_proj, &w.v_proj, &w.o_proj,
                                 &w.gate_proj, &w.up_proj, &w.down_proj}) {
      bytes += panels->bytes();
    }
  }
  return bytes;
}

absl::StatusOr<Weights> LoadWeights(
    const Checkpoint& checkpoint, Parallel& parallel,
    absl::FunctionRef<void(size_t, size_t)> progress,
    const LoadOptions& options) {
  const ModelConfig& config = checkpoint.config;
  const bool own_head = !config.tie_word_embeddings;
  const size_t num_layers = static_cast<size_t>(config.num_hidden_layers);
  const size_t total =
      num_layers * TensorsPerLayer(config) + 2 + (own_head ? 1 : 0);
  Loader loader(config, *checkpoint.tensors, parallel, total, progress,
                options.stop);

  Weights weights;
  weights.config = config;
  weights.layers.resize(num_layers);
  loader.Matrix("model.embed_tokens.weight", config.vocab_size,
                config.hidden_size, weights.embed);
  for (size_t i = 0; i < num_layers && loader.status().ok(); ++i) {
    LoadLayer(config, i, loader, weights.layers[i]);
  }
  loader.Vector("model.norm.weight", config.hidden_size, weights.final_norm);
  if (own_head) {
    loader.Matrix("lm_head.weight", config.vocab_size, config.hidden_size,
                  weights.lm_head);
  }
  weights.fingerprint = loader.fingerprint();
  if (!loader.status().ok()) return loader.status();
  return weights;
}

}  // namespace ulpscope
