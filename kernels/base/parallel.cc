#include "kernels/base/parallel.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>

#include "absl/functional/function_ref.h"
#include "hwy/contrib/thread_pool/thread_pool.h"
#include "kernels/base/machine_limits.h"

namespace ulpscope {

Parallel::Parallel(size_t num_threads)
    : num_threads_(num_threads < 1 ? 1 : num_threads) {
  if (num_threads_ > 1) pool_ = std::make_unique<hwy::ThreadPool>(num_threads_);
}

Parallel::~Parallel() = default;

void Parallel::For(size_t count, size_t threads,
                   absl::FunctionRef<void(size_t)> task) {
  if (pool_ == nullptr || count < 2 || threads < 2) {
    for (size_t i = 0; i < count; ++i) task(i);
    return;
  }
  std::atomic<bool> failed{false};
  std::exception_ptr thrown;
  // No exception may leave a thread of the pool, nor the caller's while others
  // are at work.
  const auto run = [&](size_t begin, size_t end) {
    try {
      for (size_t i = begin; i < end && !failed; ++i) task(i);
    } catch (...) {
      if (!failed.exchange(true)) thrown = std::current_exception();
    }
  };
  if (threads < num_threads_ && threads < count) {
    // The pool divides tasks among all its threads: give it one for each.
    pool_->Run(0, threads, [&](uint64_t t, size_t /*thread*/) {
      run(count * t / threads, count * (t + 1) / threads);
    });
  } else {
    pool_->Run(0, count,
               [&run](uint64_t i, size_t /*thread*/) { run(i, i + 1); });
  }
  if (thrown != nullptr) std::rethrow_exception(thrown);
}

Parallel::Awake::Awake(Parallel& parallel) : pool_(parallel.pool_.get()) {
  static const size_t cpus = AvailableCpus();
  if (parallel.num_threads_ > cpus) pool_ = nullptr;
  if (pool_ != nullptr) pool_->SetWaitMode(hwy::PoolWaitMode::kSpin);
}

Parallel::Awake::~Awake() {
  if (pool_ != nullptr) pool_->SetWaitMode(hwy::PoolWaitMode::kBlock);
}

}  // namespace ulpscope
