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

// What is asked for the tensors of a model, in their order.
class TensorVisitor {
 public:
  virtual ~TensorVisitor() = default;

  void Matrix(const std::string& name, int64_t rows, int64_t cols,
              Panels& panels) {
    const int64_t shape[] = {rows, cols};
    Visit(name, shape, panels);
  }

  void Vector(const std::string& name, int64_t size,
              std::vector<double>& vector) {
    const int64_t shape[] = {size};
    // A vector is a matrix of one row; reading it back widens it.
    Panels panels;
    if (!Visit(name, shape, panels)) return;
    vector.resize(static_cast<size_t>(size));
    panels.CopyRow(0, vector.data());
  }

 protected:
  // Whether `panels` were filled.
  virtual bool Visit(const std::string& name, absl::Span<const int64_t> shape,
                     Panels& panels) = 0;
};

// Adds up their bytes.
class Counter : public TensorVisitor {
 public:
  explicit Counter(const TensorSource& source) : source_(source) {}

  size_t bytes() const { return bytes_; }

 private:
  bool Visit(const std::string& name, absl::Span<const int64_t> shape,
             Panels& /*panels*/) override {
    bytes_ += source_.StoredBytes(name, shape);
    return false;
  }

  const TensorSource& source_;
  size_t bytes_ = 0;
};

// Loads them one after the other until one fails.
class Loader : public TensorVisitor {
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

  const absl::Status& status() const { return status_; }
  // Of what was loaded so far.
  std::string fingerprint() const { return fingerprint_.Text(); }

 private:
  bool Visit(const std::string& name, absl::Span<const int64_t> shape,
             Panels& panels) override {
    if (!status_.ok()) return false;
    const auto tensor = source_.Load(name, shape);
    status_ = tensor.status();
    if (!status_.ok()) return false;
    const size_t n = shape.size() == 1 ? 1 : static_cast<size_t>(shape[0]);
    const size_t k = static_cast<size_t>(shape.back());
    const size_t bytes = source_.StoredBytes(name, shape);
    const auto watch = [&](size_t rows) {
      Tell(done_ + static_cast<size_t>(static_cast<double>(bytes) *
                                       static_cast<double>(rows) /
                                       static_cast<double>(n)));
      return !(stop_ && stop_());
    };
    auto packed =
        tensor->blocks != nullptr
            ? Panels::Pack(*tensor->blocks, tensor->data, n, k, parallel_,
                           watch)
            : Panels::Pack(tensor->dtype, tensor->data, n, k, parallel_, watch);
    if (absl::IsCancelled(packed.status())) {
      status_ = packed.status();
      return false;
    }
    if (!packed.ok()) {
      status_ = absl::Status(
          packed.status().code(),
          absl::StrCat("tensor ", name, ": ", packed.status().message()));
      return false;
    }
    panels = *std::move(packed);
    fingerprint_.Add(*tensor);
    done_ += bytes;
    Tell(done_);
    return true;
  }

  // The end is told when all have been loaded: vectors may have no bytes.
  void Tell(size_t done) {
    if (done < total_) progress_(done, total_);
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

void VisitLayer(const ModelConfig& c, size_t index, TensorVisitor& visitor,
                LayerWeights& w) {
  const std::string layer = absl::StrCat("model.layers.", index, ".");
  const std::string attn = layer + "self_attn.";
  const std::string mlp = layer + "mlp.";
  visitor.Vector(layer + "input_layernorm.weight", c.hidden_size, w.input_norm);
  visitor.Matrix(attn + "q_proj.weight", c.q_size(), c.hidden_size, w.q_proj);
  visitor.Matrix(attn + "k_proj.weight", c.kv_size(), c.hidden_size, w.k_proj);
  visitor.Matrix(attn + "v_proj.weight", c.kv_size(), c.hidden_size, w.v_proj);
  if (c.qkv_bias) {
    visitor.Vector(attn + "q_proj.bias", c.q_size(), w.q_bias);
    visitor.Vector(attn + "k_proj.bias", c.kv_size(), w.k_bias);
    visitor.Vector(attn + "v_proj.bias", c.kv_size(), w.v_bias);
  }
  if (c.qk_norm) {
    visitor.Vector(attn + "q_norm.weight", c.head_dim, w.q_norm);
    visitor.Vector(attn + "k_norm.weight", c.head_dim, w.k_norm);
  }
  visitor.Matrix(attn + "o_proj.weight", c.hidden_size, c.q_size(), w.o_proj);
  if (c.output_bias) {
    visitor.Vector(attn + "o_proj.bias", c.hidden_size, w.o_bias);
  }
  visitor.Vector(layer + "post_attention_layernorm.weight", c.hidden_size,
                 w.post_norm);
  visitor.Matrix(mlp + "gate_proj.weight", c.intermediate_size, c.hidden_size,
                 w.gate_proj);
  visitor.Matrix(mlp + "up_proj.weight", c.intermediate_size, c.hidden_size,
                 w.up_proj);
  visitor.Matrix(mlp + "down_proj.weight", c.hidden_size, c.intermediate_size,
                 w.down_proj);
  if (c.mlp_bias) {
    visitor.Vector(mlp + "gate_proj.bias", c.intermediate_size, w.gate_bias);
    visitor.Vector(mlp + "up_proj.bias", c.intermediate_size, w.up_bias);
    visitor.Vector(mlp + "down_proj.bias", c.hidden_size, w.down_bias);
  }
}

void VisitTensors(const ModelConfig& config, TensorVisitor& visitor,
                  Weights& weights) {
  visitor.Matrix("model.embed_tokens.weight", config.vocab_size,
                 config.hidden_size, weights.embed);
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    VisitLayer(config, i, visitor, weights.layers[i]);
  }
  visitor.Vector("model.norm.weight", config.hidden_size, weights.final_norm);
  if (!config.tie_word_embeddings) {
    visitor.Matrix("lm_head.weight", config.vocab_size, config.hidden_size,
                   weights.lm_head);
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
  Weights weights;
  weights.config = config;
  weights.layers.resize(static_cast<size_t>(config.num_hidden_layers));
  Counter counter(*checkpoint.tensors);
  VisitTensors(config, counter, weights);
  Loader loader(config, *checkpoint.tensors, parallel, counter.bytes(),
                progress, options.stop);
  VisitTensors(config, loader, weights);
  weights.fingerprint = loader.fingerprint();
  if (!loader.status().ok()) return loader.status();
  const absl::Status unchanged = checkpoint.tensors->CheckUnchanged();
  if (!unchanged.ok()) return unchanged;
  progress(counter.bytes(), counter.bytes());
  return weights;
}

}  // namespace ulpscope
