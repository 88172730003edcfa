#include "kernels/base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "absl/functional/function_ref.h"
#include "hwy/cache_control.h"

namespace ulpscope {
namespace {

// Longer than most of what a decoder does between two kernels, and far shorter
// than the time for which a scheduler takes a core away.
constexpr std::chrono::microseconds kAwake(200);

}  // namespace

template <class Open>
void ThreadPool::Gate::Wait(Clock::duration awake, const Open& open) {
  if (open()) return;
  if (awake > Clock::duration::zero()) {
    constexpr int kPauses = 32;  // for one look at the clock
    const Clock::time_point until = Clock::now() + awake;
    do {
      for (int i = 0; i < kPauses; ++i) {
        hwy::Pause();
        if (open()) return;
      }
    } while (Clock::now() < until);
  }
  std::unique_lock<std::mutex> lock(mutex_);
  // Either this is seen by Notify, or what it follows by open().
  ++asleep_;
  changed_.wait(lock, open);
  --asleep_;
}

void ThreadPool::Gate::Notify() {
  if (asleep_ == 0) return;
  // Nobody is between open() and its sleep then.
  const std::lock_guard<std::mutex> lock(mutex_);
  changed_.notify_all();
}

ThreadPool::ThreadPool(size_t num_threads)
    : ranges_(new Range[num_threads]), num_threads_(num_threads) {
  for (size_t thread = 1; thread < num_threads; ++thread) {
    workers_.emplace_back([this, thread] { Work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  ends_ = true;
  ++runs_;
  begin_.Notify();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::SetAwake(bool awake) {
  awake_ = awake;
  // Those that sleep learn it from an empty run.
  if (awake) Run(0, num_threads_, [](size_t) {});
}

void ThreadPool::Run(size_t count, size_t threads,
                     absl::FunctionRef<void(size_t)> task) {
  threads_ = std::min(threads, num_threads_);
  for (size_t t = 0; t < threads_; ++t) {
    ranges_[t].next.store(count * t / threads_, std::memory_order_relaxed);
    ranges_[t].end = count * (t + 1) / threads_;
  }
  task_ = &task;
  busy_ = num_threads_ - 1;
  ++runs_;
  begin_.Notify();
  Take(0);
  end_.Wait(kAwake, [this] { return busy_ == 0; });
}

void ThreadPool::Work(size_t thread) {
  for (uint64_t seen = 0;;) {
    begin_.Wait(awake_ ? Clock::duration(kAwake) : Clock::duration::zero(),
                [&] { return runs_ != seen; });
    seen = runs_;
    if (ends_) return;
    if (thread < threads_) Take(thread);
    if (--busy_ == 0) end_.Notify();
  }
}

void ThreadPool::Take(size_t thread) {
  for (size_t i = 0; i < threads_; ++i) {
    Range& range = ranges_[(thread + i) % threads_];
    for (;;) {
      const size_t task = range.next.fetch_add(1, std::memory_order_relaxed);
      if (task >= range.end) break;
      (*task_)(task);
    }
  }
}

}  // namespace ulpscope
