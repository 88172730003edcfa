#ifndef MODEL_DECODER_OBSERVER_H_
#define MODEL_DECODER_OBSERVER_H_

#include <cstddef>

#include "kernels/base/matrix.h"
#include "model/architecture/op.h"

namespace ulpscope {

// Sees the output of every op of a forward pass, after its rounding. Watching
// changes no bit of the result.
class Observer {
 public:
  virtual ~Observer() = default;

  // `layer` counts from 1, and is 0 for ops that are in no layer. The rows are
  // the positions first_position, first_position + 1, ...; valid only during
  // the call, which comes from the thread that runs the pass. Widths: rope
  // q_size + kv_size (q, then k); others as the op's Hugging Face module.
  // `qk` and `softmax` come one position at a time, with a row per head and
  // first_position + 1 columns.
  virtual void OnOutput(size_t layer, Op op, size_t first_position,
                        Matrix<const double> rows) = 0;
};

}  // namespace ulpscope

#endif  // MODEL_DECODER_OBSERVER_H_
