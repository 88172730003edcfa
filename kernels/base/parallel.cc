#include "kernels/base/parallel.h"

#include <cstddef>
#include <cstdint>
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
  if (threads < num_threads_ && threads < count) {
    // The pool divides tasks among all its threads: give it one for each.
    pool_->Run(0, threads, [&](uint64_t t, size_t /*thread*/) {
      const size_t end = count * (t + 1) / threads;
      for (size_t i = count * t / threads; i < end; ++i) task(i);
    });
    return;
  }
  pool_->Run(0, count, [&task](uint64_t i, size_t /*thread*/) {
    task(static_cast<size_t>(i));
  });
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
