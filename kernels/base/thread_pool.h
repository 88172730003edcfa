#ifndef KERNELS_BASE_THREAD_POOL_H_
#define KERNELS_BASE_THREAD_POOL_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace ulpscope {

// Threads that divide ranges of tasks, for kernels that take microseconds, on a
// machine that others use too: who waits does so awake for a moment, and then
// asleep. (Highway's ThreadPool, and many others, wait for their last task
// without end. A thread that another process has taken the core from then keeps
// a second core from it, and the kernel never moves it there.)
class ThreadPool {
 public:
  // `num_threads`, at least 2, counts the caller.
  explicit ThreadPool(size_t num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls task(i) once for each i < count, on the first `threads` threads at
  // most; each takes neighbours, and then what others have left. Tasks must not
  // throw, nor call Run. One call at a time.
  void Run(size_t count, size_t threads, absl::FunctionRef<void(size_t)> task);

  // Whether threads wait for Run awake, for a moment, or asleep at once. Not
  // while it runs.
  void SetAwake(bool awake);

 private:
  using Clock = std::chrono::steady_clock;

  // Where some wait for what others do.
  class Gate {
   public:
    // Until open() is true: awake for so long, then asleep.
    template <class Open>
    void Wait(Clock::duration awake, const Open& open);
    // After what may have made open() true, which is a sequentially consistent
    // store.
    void Notify();

   private:
    std::atomic<size_t> asleep_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
  };

  // What is left of a thread's range, alone on its cache lines.
  struct alignas(128) Range {
    std::atomic<size_t> next{0};
    size_t end = 0;
  };

  void Work(size_t thread);  // until the pool ends
  void Take(size_t thread);

  std::unique_ptr<Range[]> ranges_;
  const size_t num_threads_;
  // Of the current Run.
  size_t threads_ = 0;
  const absl::FunctionRef<void(size_t)>* task_ = nullptr;

  alignas(128) std::atomic<uint64_t> runs_{0};  // begun
  alignas(128) std::atomic<size_t> busy_{0};    // threads but the caller
  std::atomic<bool> awake_{false};
  std::atomic<bool> ends_{false};
  Gate begin_, end_;
  std::vector<std::thread> workers_;
};

}  // namespace ulpscope

#endif  // KERNELS_BASE_THREAD_POOL_H_
