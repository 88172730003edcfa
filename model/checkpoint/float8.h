#ifndef MODEL_CHECKPOINT_FLOAT8_H_
#define MODEL_CHECKPOINT_FLOAT8_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/files/safetensors_file.h"
#include "model/files/tensor.h"

namespace ulpscope {

// A matrix of F8_E4M3 with the scales, F32 or BF16, by which blocks of 128 x
// 128 of it are multiplied (weight_scale_inv, as Qwen3-*-FP8 has them), as
// blocks of 128 along k that have the scale with them; if k is no multiple of
// 128, as F32. Errors name the tensor that has another shape or dtype.
absl::StatusOr<Tensor> Float8Tensor(
    absl::string_view name, absl::Span<const int64_t> shape,
    const SafetensorsEntries::value_type& codes,
    const SafetensorsEntries::value_type& scales);

}  // namespace ulpscope

#endif  // MODEL_CHECKPOINT_FLOAT8_H_
