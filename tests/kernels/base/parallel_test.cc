#include "kernels/base/parallel.h"

#include <atomic>
#include <cstddef>
#include <new>

#include "gtest/gtest.h"
#include "kernels/base/aligned_bytes.h"

namespace ulpscope {
namespace {

// On one thread, on all of them and on some.
TEST(ParallelTest, WhatATaskThrowsIsTheCallersToCatch) {
  for (const size_t threads : {1, 4, 3}) {
    Parallel parallel(threads == 1 ? 1 : 4);
    std::atomic<size_t> running{0};
    bool caught = false;
    try {
      parallel.For(1000, threads, [&running](size_t i) {
        struct Counted {
          std::atomic<size_t>& count;
          ~Counted() { --count; }
        };
        ++running;
        const Counted counted{running};
        if (i % 100 == 50) throw std::bad_alloc();
      });
    } catch (const std::bad_alloc&) {
      caught = true;
    }
    EXPECT_TRUE(caught) << threads;
    EXPECT_EQ(running, 0) << threads;
    // And the threads are as good as before.
    std::atomic<size_t> done{0};
    parallel.For(1000, threads, [&done](size_t) { ++done; });
    EXPECT_EQ(done, 1000) << threads;
  }
}

TEST(AlignedBytesTest, MemoryThatIsNotThereIsAnException) {
  EXPECT_THROW(AllocateAlignedBytes(~size_t{0} / 2), std::bad_alloc);
}

}  // namespace
}  // namespace ulpscope
