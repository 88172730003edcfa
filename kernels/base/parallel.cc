#include "kernels/base/parallel.h"

#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>

#include "absl/functional/function_ref.h"
#include "kernels/base/machine_limits.h"
#include "kernels/base/thread_pool.h"

namespace ulpscope {

Parallel::Parallel(size_t num_threads)
    : num_threads_(num_threads < 1 ? 1 : num_threads) {
  if (num_threads_ > 1) pool_ = std::make_unique<ThreadPool>(num_threads_);
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
  pool_->Run(count, threads, [&](size_t i) {
    if (failed) return;
    try {
      task(i);
    } catch (...) {
      if (!failed.exchange(true)) thrown = std::current_exception();
    }
  });
  if (thrown != nullptr) std::rethrow_exception(thrown);
}

Parallel::Awake::Awake(Parallel& parallel) : pool_(parallel.pool_.get()) {
  static const size_t cpus = AvailableCpus();
  if (parallel.num_threads_ > cpus) pool_ = nullptr;
  if (pool_ != nullptr) pool_->SetAwake(true);
}

Parallel::Awake::~Awake() {
  if (pool_ != nullptr) pool_->SetAwake(false);
}

}  // namespace ulpscope
