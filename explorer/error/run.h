#ifndef EXPLORER_ERROR_RUN_H_
#define EXPLORER_ERROR_RUN_H_

#include <cstddef>
#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "kernels/base/parallel.h"
#include "model/checkpoint/weights.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {

class Kept;  // explorer/error/kept.h

// Who waits for a computation: says when it is to stop, and hears how far it
// is. Both are called by the thread that computes.
class Monitor {
 public:
  virtual ~Monitor() = default;

  // Asked between pieces of work of well below a second. Once it is true it
  // stays so, and the computation ends with what it has.
  virtual bool stopped() = 0;

  // `done` of the task's `total` are done, in any unit, and `what` is next.
  // `done` is `total` once, when the task has ended well.
  virtual void OnProgress(absl::string_view task, size_t done, size_t total,
                          absl::string_view what) = 0;

  // The same of bytes, which whoever reads it may want in larger units.
  virtual void OnBytes(absl::string_view task, size_t done, size_t total) {
    OnProgress(task, done, total, "bytes");
  }
};

// What every computation that runs plans is given. The tokens are not part of
// it: some run others.
struct Run {
  const Weights& weights;
  size_t memory;  // bytes for activations and what is kept of them
  Monitor& monitor;
  Parallel& parallel;
  Kept* kept = nullptr;  // what was measured before; null: nothing is kept

  // The same when `bytes` of the memory are taken.
  Run Without(size_t bytes) const;
};

std::function<bool()> StopOf(Monitor& monitor);

// For lockstep runs that are part of a task, whose end is the caller's to tell;
// no progress if the task is empty. `what` is asked for OnProgress' argument,
// or null.
LockstepOptions LockstepOptionsOf(const Run& run, absl::string_view task = "",
                                  std::function<std::string()> what = nullptr);

}  // namespace ulpscope

#endif  // EXPLORER_ERROR_RUN_H_
