#ifndef MODEL_TRACE_TRACE_CONTENTS_H_
#define MODEL_TRACE_TRACE_CONTENTS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

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

}  // namespace ulpscope

#endif  // MODEL_TRACE_TRACE_CONTENTS_H_
