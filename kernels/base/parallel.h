#ifndef KERNELS_BASE_PARALLEL_H_
#define KERNELS_BASE_PARALLEL_H_

#include <cstddef>
#include <memory>

#include "absl/functional/function_ref.h"

namespace hwy {
class ThreadPool;
}

namespace ulpscope {

class Tunings;

// Runs independent tasks on a fixed number of threads. Kernels divide outputs
// among tasks, never a sum, so the number of threads cannot change a bit.
class Parallel {
 public:
  // `num_threads` counts the caller; 1 runs everything in the caller.
  explicit Parallel(size_t num_threads = 1);
  ~Parallel();
  Parallel(const Parallel&) = delete;
  Parallel& operator=(const Parallel&) = delete;

  size_t num_threads() const { return num_threads_; }

  // Calls task(i) once for each i < count, in any order and at the same time.
  // Not re-entrant: a task that calls kernels gives them a Parallel of its own.
  // What a task throws is thrown to the caller, when all threads are at rest;
  // no further tasks are begun then.
  void For(size_t count, absl::FunctionRef<void(size_t)> task) {
    For(count, num_threads_, task);
  }
  // The same on at most `threads` of them.
  void For(size_t count, size_t threads, absl::FunctionRef<void(size_t)> task);

  // While one lives, the threads wait for tasks awake: waking costs more than
  // many a kernel takes. Only where every thread has a core of its own; else
  // they would take turns with what they wait for. Not within a task.
  class Awake {
   public:
    explicit Awake(Parallel& parallel);
    ~Awake();
    Awake(const Awake&) = delete;
    Awake& operator=(const Awake&) = delete;

   private:
    hwy::ThreadPool* pool_;  // null where the threads may sleep
  };

  // What kernels know about speed here; null for their defaults. It must
  // outlive this.
  const Tunings* tunings() const { return tunings_; }
  void set_tunings(const Tunings* tunings) { tunings_ = tunings; }

 private:
  size_t num_threads_;
  std::unique_ptr<hwy::ThreadPool> pool_;  // null for one thread
  const Tunings* tunings_ = nullptr;
};

}  // namespace ulpscope

#endif  // KERNELS_BASE_PARALLEL_H_
