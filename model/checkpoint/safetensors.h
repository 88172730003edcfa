#ifndef MODEL_CHECKPOINT_SAFETENSORS_H_
#define MODEL_CHECKPOINT_SAFETENSORS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/files/tensor.h"

namespace ulpscope {

// Weights in the safetensors format (github.com/huggingface/safetensors): eight
// bytes of header length, a JSON header of dtypes, shapes and offsets, and the
// data. Opening checks all of the header as upstream does: known dtypes, sizes
// that fit their shapes, data covered without overlap or hole. F32, F16 and
// BF16 load, straight out of the file's mapping; a tensor of another dtype is
// an error only when it is asked for.
//
// Errors name the file, and the tensor with what was expected and found.

// One .safetensors file.
absl::StatusOr<std::unique_ptr<TensorSource>> OpenSafetensors(
    absl::string_view path);

// A Hugging Face folder: its model.safetensors, else the shards listed in
// its model.safetensors.index.json, of which only the tensors in `weight_map`
// count.
absl::StatusOr<std::unique_ptr<TensorSource>> OpenSafetensorsFolder(
    absl::string_view folder);

}  // namespace ulpscope

#endif  // MODEL_CHECKPOINT_SAFETENSORS_H_
