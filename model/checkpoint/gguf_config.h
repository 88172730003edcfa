#ifndef MODEL_CHECKPOINT_GGUF_CONFIG_H_
#define MODEL_CHECKPOINT_GGUF_CONFIG_H_

#include "absl/status/statusor.h"
#include "model/architecture/config.h"
#include "model/files/gguf_file.h"

namespace ulpscope {

// The hyperparameters of a model of GGUF architecture llama, qwen2 or qwen3.
// Presence of biases, and of an lm_head of its own, is read off the tensors.
// Any other architecture, and variants that the pipeline does not compute
// (experts, sliding windows, partial or YaRN-scaled RoPE), are refused by name.
absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& gguf);

}  // namespace ulpscope

#endif  // MODEL_CHECKPOINT_GGUF_CONFIG_H_
