#ifndef MODEL_CHECKPOINT_CHECKPOINT_H_
#define MODEL_CHECKPOINT_CHECKPOINT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/architecture/config.h"
#include "model/files/tensor.h"

namespace ulpscope {

// An opened model: hyperparameters, and a source of weights.
struct Checkpoint {
  std::string name;        // as given to OpenCheckpoint
  bool synthetic = false;  // results on it must be labelled so
  ModelConfig config;
  // config.json ties lm_head to the embedding, but lm_head.weight in the file
  // is no copy of it: it is used, as by transformers, and `config` says so.
  bool untied_by_file = false;
  std::unique_ptr<TensorSource> tensors;
};

// Opens a Hugging Face folder (config.json, and model.safetensors or
// model.safetensors.index.json), a .gguf file, or "synthetic:NAME".
absl::StatusOr<Checkpoint> OpenCheckpoint(absl::string_view name);

}  // namespace ulpscope

#endif  // MODEL_CHECKPOINT_CHECKPOINT_H_
