#ifndef MODEL_TRACE_REFERENCE_TRACE_H_
#define MODEL_TRACE_REFERENCE_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/architecture/config.h"
#include "model/trace/trace_contents.h"

namespace ulpscope {

// Reads a trace of the model:
//   a folder of after_layer_N.bin, and after_embeddings.bin, final_logits.bin
//     (little-endian: an int32 count, and so many f32)
//   a .npz file, or a folder of .npy files
//   a .safetensors file, or a folder of them
// Tensors are found under the names in model/trace/trace_names.h; `mapping` (a
// file's path, one that is built in, or empty; model/trace/name_mapping.h)
// renames others first. Stacked states (`hidden_states`), fused projections
// (`qkv_proj`, `gate_up_proj`) and pairs (`hidden_states` and `residual` of a
// layer, whose sum is the stream) need none (FusedNames). Of a batch, `row` is
// the sequence that is read. `tokens` (empty if not given) must be those of the
// trace if it has its own. Shapes are those of model/trace/trace_layout.h. Of
// the logits, the final norm and the last state, fewer rows than positions are
// taken for the last ones. NaN and infinity are kept.
//
// A tensor of another shape than the model's, of a dtype without values
// (numpy's are f8, f4, f2), truncated, or missing between others of its kind is
// not measured. Errors: a file that cannot be opened or whose tensors cannot be
// told, no tokens or others than the model's or the given ones, two tensors
// under one name after the mapping, a batch without a `row` or with fewer
// sequences, or nothing to measure.
absl::StatusOr<ReferenceTrace> LoadReferenceTrace(
    absl::string_view path, absl::string_view mapping,
    const ModelConfig& config, absl::Span<const int32_t> tokens,
    std::optional<size_t> row = std::nullopt,
    absl::string_view tokens_given_by = "--tokens");

}  // namespace ulpscope

#endif  // MODEL_TRACE_REFERENCE_TRACE_H_
