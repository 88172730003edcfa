#ifndef MODEL_CHECKPOINT_WEIGHTS_H_
#define MODEL_CHECKPOINT_WEIGHTS_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "model/architecture/config.h"
#include "model/checkpoint/checkpoint.h"

namespace ulpscope {

// One layer's weights. Matrices are [out, in], as Hugging Face stores them,
// repacked in their stored type; vectors are widened (exactly) to f64. What the
// architecture does not have is empty.
struct LayerWeights {
  std::vector<double> input_norm;  // [hidden]
  Panels q_proj;                   // [q_size, hidden]
  Panels k_proj;                   // [kv_size, hidden]
  Panels v_proj;                   // [kv_size, hidden]
  std::vector<double> q_bias;      // [q_size]
  std::vector<double> k_bias;      // [kv_size]
  std::vector<double> v_bias;      // [kv_size]
  std::vector<double> q_norm;      // [head_dim]
  std::vector<double> k_norm;      // [head_dim]
  Panels o_proj;                   // [hidden, q_size]
  std::vector<double> o_bias;      // [hidden]
  std::vector<double> post_norm;   // [hidden]
  Panels gate_proj;                // [intermediate, hidden]
  Panels up_proj;                  // [intermediate, hidden]
  Panels down_proj;                // [hidden, intermediate]
  std::vector<double> gate_bias;   // [intermediate]
  std::vector<double> up_bias;     // [intermediate]
  std::vector<double> down_bias;   // [hidden]
};

struct Weights {
  ModelConfig config;
  Panels embed;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  std::vector<double> final_norm;  // [hidden]
  Panels lm_head;                  // [vocab, hidden]; empty if tied to embed
  std::string fingerprint;         // Fingerprint's

  const Panels& LmHead() const {
    return config.tie_word_embeddings ? embed : lm_head;
  }
  // Bytes that one decode step reads: all matrices, but of an untied embedding
  // only a row.
  size_t DecodeBytes() const;
};

struct LoadOptions {
  // Asked after some megabytes; true ends it, Cancelled. Null is never.
  std::function<bool()> stop;
};

// Loads and repacks tensor by tensor: beside the result, memory holds at most
// one tensor. `progress` is called with how many bytes of the tensors, as they
// are stored, are done, and their total; with both equal once, when all are.
// It is an error too if another process wrote to a file meanwhile.
absl::StatusOr<Weights> LoadWeights(
    const Checkpoint& checkpoint, Parallel& parallel,
    absl::FunctionRef<void(size_t, size_t)> progress,
    const LoadOptions& options = {});

}  // namespace ulpscope

#endif  // MODEL_CHECKPOINT_WEIGHTS_H_
