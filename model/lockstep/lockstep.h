#ifndef MODEL_LOCKSTEP_LOCKSTEP_H_
#define MODEL_LOCKSTEP_LOCKSTEP_H_

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/base/parallel.h"
#include "model/architecture/config.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/stream.h"

namespace ulpscope {

// The most bytes of activations that running all of them in one pass holds.
double LockstepBytes(const ModelConfig& config,
                     absl::Span<const Stream> streams, Logits logits);

// Runs all streams, layer by layer, in one pass over the weights where the
// memory allows: per op, the rows of all streams that take the same strategy
// are one batch. Every stream has the bits that it has alone, and that a
// Decoder has (if its variant is the default). InvalidArgument for a token that
// is not in the vocabulary, no tokens, a start of another shape, or a variant
// of numbers that are none or of a head that is not loaded; also for a given
// output of another shape, when it is met. Cancelled if stopped.
// ResourceExhausted if there is no memory.
absl::Status RunLockstep(const Weights& weights,
                         absl::Span<const Stream> streams,
                         const LockstepOptions& options,
                         LockstepObserver& observer, Parallel& parallel);

}  // namespace ulpscope

#endif  // MODEL_LOCKSTEP_LOCKSTEP_H_
