#ifndef MODEL_TRACE_REFERENCE_TRACE_H_
#define MODEL_TRACE_REFERENCE_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/decoder/activations.h"

namespace ulpscope {

// A tensor of a trace: rows are positions, widened to f64 without rounding.
struct TracedTensor {
  std::string name;       // as in the file; of `rope` both parts' names
  std::string stored_as;  // "F64", "F32", "F16", "BF16"; of `rope`, "F32, F16"
                          // if its parts differ
  // The position of row 0: the rows are all positions, or the last ones (as of
  // logits, of which many implementations keep no others).
  size_t first_position = 0;
  Rows rows;
};

// What somebody else's forward pass left in files.
struct ReferenceTrace {
  std::string path;
  std::vector<int32_t> tokens;
  bool has_tokens = false;  // whether they are the trace's own

  // Outputs whose name says which op they are of: [layer, op], layers from 1, 0
  // for embed, final_norm and lm_head. Widths as Observer::OnOutput's; those of
  // `qk` and `softmax` are in `scores`.
  std::map<std::pair<size_t, Op>, TracedTensor> outputs;
  // Scores before and after the softmax: [layer, op], a row per head and
  // position (head * positions + position), a column per position.
  std::map<std::pair<size_t, Op>, TracedTensor> scores;
  // The list of hidden states by the index that it gives them. Which layer an
  // index means, and whether the last one is normalized, is for a diagnosis to
  // find out.
  std::map<size_t, TracedTensor> states;

  // What the trace has and cannot be used, or lacks; and why.
  struct NotMeasured {
    std::string name;
    std::string reason;
  };
  std::vector<NotMeasured> not_measured;

  bool empty() const {
    return outputs.empty() && scores.empty() && states.empty();
  }
};

// Reads a trace of the model:
//   a folder of after_layer_N.bin, and after_embeddings.bin, final_logits.bin
//     (little-endian: an int32 count, and so many f32)
//   a .npz file, or a folder of .npy files
//   a .safetensors file, or a folder of them
// Tensors are found under the names in model/trace/trace_names.h; `mapping` (a
// file's path, or empty; model/trace/name_mapping.h) renames others first.
// `tokens` (empty if not given) must be those of the trace if it has its own.
// Shapes are those of model/trace/trace_layout.h. Of the logits, the final norm
// and the last state, fewer rows than positions are taken for the last ones.
// NaN and infinity are kept.
//
// A tensor of another shape than the model's, of a dtype without values
// (numpy's are f8, f4, f2), truncated, or missing between others of its kind is
// not measured. Errors: a file that cannot be opened or whose tensors cannot be
// told, no tokens or others than the model's or the given ones, two tensors
// under one name after the mapping, or nothing to measure.
absl::StatusOr<ReferenceTrace> LoadReferenceTrace(
    absl::string_view path, absl::string_view mapping,
    const ModelConfig& config, absl::Span<const int32_t> tokens);

}  // namespace ulpscope

#endif  // MODEL_TRACE_REFERENCE_TRACE_H_
