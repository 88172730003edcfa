#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"
#include "tests/model/checkpoint/loaded_model.h"
#include "tests/model/lockstep/one_layer.h"
#include "tests/model/lockstep/random_streams.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

TEST(LockstepMemoryTest, AnyLimitGivesTheSameResults) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const Family family(weights);
  Parallel parallel;
  LockstepOptions options;
  options.logits = Logits::kLast;
  KeepStreams unbounded(family.size(), false);
  ASSERT_THAT(
      RunLockstep(weights, family.Streams(), options, unbounded, parallel),
      IsOk());
  for (const size_t memory : {size_t{0}, size_t{1} << 20}) {
    options.memory = memory;
    KeepStreams keep(family.size(), false);
    ASSERT_THAT(RunLockstep(weights, family.Streams(), options, keep, parallel),
                IsOk());
    EXPECT_GT(keep.shown, unbounded.shown);
    for (size_t i = 0; i < family.size(); ++i) {
      ExpectSame(keep.outputs[i], unbounded.outputs[i]);
    }
  }
}

// Bytes that the program has allocated and not freed, when it was most.
class WatchMemory : public LockstepObserver {
 public:
  bool Wants(Op) const override { return true; }
  void OnOutput(absl::Span<const size_t>, size_t, Op, size_t,
                Matrix<const double>) override {
    Look();
  }
  void Look() {
    const struct mallinfo2 info = mallinfo2();
    most = std::max(most, info.uordblks + info.hblkhd);
  }
  size_t most = 0;
};

void ExpectNoMoreMemory(const Weights& weights, size_t memory) {
  Random random(11);
  const std::vector<int32_t> tokens = RandomTokens(24, weights, random);
  std::vector<Stream> streams;
  for (size_t i = 0; i < 100; ++i) {
    const Plan plan = Plan::Parse("f32", weights.layers.size()).value();
    streams.push_back({Mutated(plan, false, random), tokens});
  }
  Parallel parallel;
  for (const Logits logits : {Logits::kNone, Logits::kAll}) {
    WatchMemory before, during;
    LockstepOptions options;
    options.logits = logits;
    options.memory = memory;
    options.stop = [&] {
      during.Look();
      return false;
    };
    before.Look();
    ASSERT_THAT(RunLockstep(weights, streams, options, during, parallel),
                IsOk());
    EXPECT_LE(during.most - before.most, memory);
  }
}

TEST(LockstepMemoryTest, ActivationsTakeNoMore) {
  ExpectNoMoreMemory(LoadedOnce("synthetic:tiny"), size_t{2} << 20);
}

TEST(LockstepMemoryTest, LogitsTakeNoMore) {
  // The logits of three streams, and nothing else.
  ExpectNoMoreMemory(OneLayer(64, 1, 8192), 3 * 24 * 8192 * sizeof(double));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(LockstepMemoryTest, WithoutMemoryItSaysWhatWasTooLarge) {
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const std::vector<int32_t> tokens(size_t{1} << 21, 7);
  const std::vector<Stream> streams = {{Plan(weights.layers.size()), tokens}};
  class : public LockstepObserver {
    bool Wants(Op) const override { return false; }
    void OnOutput(absl::Span<const size_t>, size_t, Op, size_t,
                  Matrix<const double>) override {}
  } nobody;
  const auto run = [&] {
    Parallel parallel;
    const struct rlimit few = {size_t{512} << 20, size_t{512} << 20};
    if (setrlimit(RLIMIT_AS, &few) != 0) _exit(2);
    const absl::Status status =
        RunLockstep(weights, streams, {}, nobody, parallel);
    absl::FPrintF(stderr, "%s\n", status.message());
    _exit(absl::IsResourceExhausted(status) ? 0 : 1);
  };
  EXPECT_EXIT(run(), testing::ExitedWithCode(0),
              "no memory for the activations of 1 runs at once");
}
#endif

}  // namespace
}  // namespace ulpscope
