#include "kernels/base/thread_pool.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

// Awake and asleep, with fewer tasks than threads and many more, and with
// pauses after which all of them sleep.
TEST(ThreadPoolTest, EachTaskRunsOnce) {
  constexpr size_t kThreads = 4;
  ThreadPool pool(kThreads);
  for (const bool awake : {false, true, false}) {
    pool.SetAwake(awake);
    for (size_t run = 0; run < 2000; ++run) {
      const size_t count = run % 37;
      const size_t threads = 1 + run % kThreads;
      std::vector<std::atomic<int>> done(count);
      pool.Run(count, threads, [&](size_t task) { ++done[task]; });
      for (size_t task = 0; task < count; ++task) {
        ASSERT_EQ(done[task], 1) << run << ", task " << task;
      }
      if (run % 200 == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
  }
}

TEST(ThreadPoolTest, AThreadThatIsHeldUpKeepsOnlyItsTask) {
  ThreadPool pool(2);
  std::atomic<size_t> others{0};
  // The first task of all ends when all others have: its thread's neighbours of
  // it are taken by the other thread.
  pool.Run(100, 2, [&](size_t task) {
    if (task != 0) {
      ++others;
      return;
    }
    while (others < 99) std::this_thread::yield();
  });
  EXPECT_EQ(others, 99u);
}

TEST(ThreadPoolTest, FewerThreadsAreNoMore) {
  ThreadPool pool(4);
  std::atomic<size_t> running{0}, most{0};
  pool.Run(200, 2, [&](size_t) {
    const size_t now = ++running;
    size_t before = most;
    while (before < now && !most.compare_exchange_weak(before, now)) {
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    --running;
  });
  EXPECT_LE(most, 2u);
}

}  // namespace
}  // namespace ulpscope
