#ifndef MODEL_CHECKPOINT_GGUF_H_
#define MODEL_CHECKPOINT_GGUF_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/architecture/config.h"
#include "model/files/tensor.h"

namespace ulpscope {

// A model in one GGUF file, seen as its Hugging Face original.
struct GgufModel {
  ModelConfig config;
  // By Hugging Face names. F32, F16 and BF16 keep their type, and come straight
  // out of the file's mapping where possible; Q8_0, Q4_0, Q4_1, Q5_0, Q5_1,
  // Q4_K and Q6_K become F32. Other types are an error when loaded.
  std::unique_ptr<TensorSource> tensors;
};

// Opens a GGUF v2 or v3 file of architecture llama, qwen2 or qwen3. Errors name
// the file, and the key or tensor with what was expected and found.
absl::StatusOr<GgufModel> OpenGguf(absl::string_view path);

}  // namespace ulpscope

#endif  // MODEL_CHECKPOINT_GGUF_H_
