#ifndef MODEL_TRACE_TRACE_LAYOUT_H_
#define MODEL_TRACE_TRACE_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/trace/batch_row.h"
#include "model/trace/trace_contents.h"
#include "model/trace/trace_files.h"

namespace ulpscope {

// Arrays of a trace as tensors of the model: what shapes are taken for what,
// after leading dimensions of 1 are dropped, and of a batch the others than its
// row. Errors are of the array only, without its name: "expected ..., found
// ...". The batch's status is not among them.

// What a row is.
struct RowLayout {
  const char* name = "";  // of the width, as in config.json
  size_t width = 0;
  // Whether an array of fewer rows is of the last positions.
  bool may_be_last = false;
};

RowLayout LayoutOfState(size_t index, const ModelConfig& config);
// Not of `rope`, `qk` and `softmax`.
RowLayout LayoutOfOutput(Op op, const ModelConfig& config);

// [positions, width], also with the width split ([positions, heads, head_dim])
// or as one dimension.
absl::StatusOr<TracedTensor> ReadRows(const TraceArray& array,
                                      const RowLayout& layout, size_t positions,
                                      BatchRow& batch);

// The rotated q and k side by side. Each [positions, heads, head_dim], as
// above, or as transformers has it, [heads, positions, head_dim]; with as many
// heads as positions, it is the former.
absl::StatusOr<TracedTensor> ReadRope(const TraceArray& q, const TraceArray& k,
                                      const ModelConfig& config,
                                      size_t positions, BatchRow& batch);

// [heads, positions, positions], also with the heads split by KV head.
absl::StatusOr<TracedTensor> ReadScores(const TraceArray& array,
                                        const ModelConfig& config,
                                        size_t positions, BatchRow& batch);

// [positions] integers; with more than one sequence, they say so to the batch.
// OutOfRange if one is not in the vocabulary.
absl::StatusOr<std::vector<int32_t>> ReadTokens(const TraceArray& array,
                                                int64_t vocab_size,
                                                BatchRow& batch);

}  // namespace ulpscope

#endif  // MODEL_TRACE_TRACE_LAYOUT_H_
