#ifndef MODEL_LOCKSTEP_STREAM_H_
#define MODEL_LOCKSTEP_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/decoder/activations.h"
#include "model/decoder/decoder.h"

namespace ulpscope {

// The residual stream between two layers.
struct StreamState {
  std::vector<double> stream;  // [positions, hidden]
  std::vector<double> carry;   // the same: its low-order part, or empty for 0
};

// Outputs of ops that a run is given from elsewhere, for all of its positions.
class GivenOutputs {
 public:
  virtual ~GivenOutputs() = default;

  // [positions, the op's width], or empty if the op computes its own; `layer`
  // is that of LockstepObserver::OnOutput. Asked once per op and pass, in the
  // order in which they run, and whatever the observer wants. `qk`, `softmax`
  // and `lm_head` are not asked for.
  virtual Rows Get(size_t layer, Op op) const = 0;
};

// One run of a plan over fresh positions, the tokens'.
struct Stream {
  Plan plan;
  absl::Span<const int32_t> tokens;
  // The first layer that is run, and its input; null begins with the tokens'
  // embedding, in layer 1.
  size_t first_layer = 1;
  const StreamState* start = nullptr;
  // The last layer that is run; beyond the model's last, the final norm and
  // the logits too.
  size_t last_layer = SIZE_MAX;
  Variant variant = {};
  // Replays what somebody else has computed: an op whose output is given still
  // computes its own, from given inputs, and shows it to the observer; but the
  // given one goes on (of a residual add, without a carry). Null gives nothing.
  const GivenOutputs* given = nullptr;
};

// Sees the outputs of all streams. Those whose plans and inputs have been the
// same so far, or whose outputs have come to be the same bits again, share one:
// it is shown once, with all of them, ascending. (Scores, of qk and softmax:
// once for those that share all of a layer's attention.)
class LockstepObserver {
 public:
  virtual ~LockstepObserver() = default;

  // Whether OnOutput is to be called for the op.
  virtual bool Wants(Op op) const = 0;

  // As Observer::OnOutput, of these streams.
  virtual void OnOutput(absl::Span<const size_t> streams, size_t layer, Op op,
                        size_t first_position, Matrix<const double> rows) = 0;

  // After the embedding (layer 0) and after each layer: what the next layer
  // reads. [positions, hidden].
  virtual void OnState(absl::Span<const size_t> /*streams*/, size_t /*layer*/,
                       Matrix<const double> /*stream*/,
                       Matrix<const double> /*carry*/) {}
};

struct LockstepOptions {
  Logits logits = Logits::kNone;
  // Activations take no more bytes than this: streams that would take more are
  // run in several passes over the weights, one after the other. A single
  // stream is run whatever it takes.
  size_t memory = SIZE_MAX;
  // Asked between pieces of work of well below a second; true ends the run. An
  // observer that works on logits for longer asks too, and may leave when told
  // to stop: it is asked again after them.
  std::function<bool()> stop;
  // Called with the work done and all work, in any unit.
  std::function<void(size_t done, size_t total)> progress;
};

}  // namespace ulpscope

#endif  // MODEL_LOCKSTEP_STREAM_H_
