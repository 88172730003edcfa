#include "explorer/error/run.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {

Run Run::Without(size_t bytes) const {
  return {weights, memory - std::min(memory, bytes), monitor, parallel, kept};
}

std::function<bool()> StopOf(Monitor& monitor) {
  return [&monitor] { return monitor.stopped(); };
}

LockstepOptions LockstepOptionsOf(const Run& run, absl::string_view task,
                                  std::function<std::string()> what) {
  LockstepOptions options;
  options.memory = run.memory;
  options.stop = StopOf(run.monitor);
  if (task.empty()) return options;
  options.progress = [&monitor = run.monitor, task = std::string(task),
                      what = std::move(what)](size_t done, size_t total) {
    // A task can take several runs: none of them ends it.
    total = std::max<size_t>(total, 1);
    monitor.OnProgress(task, std::min(done, total - 1), total,
                       what == nullptr ? "" : what());
  };
  return options;
}

}  // namespace ulpscope
