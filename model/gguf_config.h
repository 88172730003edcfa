#ifndef MODEL_GGUF_CONFIG_H_
#define MODEL_GGUF_CONFIG_H_

#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/gguf_file.h"

namespace ulpscope {

// The hyperparameters of a model of GGUF architecture llama, qwen2 or qwen3.
// Presence of biases, and of an lm_head of its own, is read off the tensors.
// Any other architecture, and variants that the pipeline does not compute
// (experts, sliding windows, partial or YaRN-scaled RoPE), are refused by name.
absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& gguf);

}  // namespace ulpscope

#endif  // MODEL_GGUF_CONFIG_H_
