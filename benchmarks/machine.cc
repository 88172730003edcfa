#include "benchmarks/machine.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "hwy/cache_control.h"
#include "kernels/base/aligned_bytes.h"
#include "kernels/base/machine_limits.h"
#include "kernels/base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "benchmarks/machine.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/base/steady_clock.h"

HWY_BEFORE_NAMESPACE();
namespace ulpscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Runs `steps` FMAs on each of ten vectors, more independent chains than any
// CPU's latency times throughput; returns the FLOPs done, and a sum of the
// results, so that they are computed.
double RunFmas(size_t steps, float* sink) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  constexpr size_t kChains = 10;
  V chains[kChains];
  HWY_UNROLL(32)
  for (size_t c = 0; c < kChains; ++c) {
    chains[c] = hn::Set(d, static_cast<float>(c));
  }
  // Neither overflows nor decays into subnormals.
  const V factor = hn::Set(d, 0.5f);
  const V term = hn::Set(d, 0.5f);
  for (size_t i = 0; i < steps; ++i) {
    HWY_UNROLL(32)
    for (size_t c = 0; c < kChains; ++c) {
      chains[c] = hn::MulAdd(chains[c], factor, term);
    }
  }
  V sum = hn::Zero(d);
  HWY_UNROLL(32)
  for (size_t c = 0; c < kChains; ++c) sum = hn::Add(sum, chains[c]);
  *sink = hn::ReduceSum(d, sum);
  return 2.0 * static_cast<double>(steps * kChains * hn::Lanes(d));
}

// Reads `count` words, a multiple of a page's. Fetching 1 KiB ahead takes one
// thread of an AVX-512 Xeon from 13.8 to 16.2 GB/s: its own prefetchers stop at
// the end of a page.
uint64_t ReadWords(const uint64_t* HWY_RESTRICT words, size_t count) {
  const hn::ScalableTag<uint64_t> d;
  using V = hn::Vec<decltype(d)>;
  const size_t lanes = hn::Lanes(d);
  constexpr size_t kChains = 4;
  constexpr size_t kAhead = 1024 / sizeof(uint64_t);
  V sums[kChains];
  HWY_UNROLL(32)
  for (size_t c = 0; c < kChains; ++c) sums[c] = hn::Zero(d);
  for (size_t i = 0; i < count; i += kChains * lanes) {
    HWY_UNROLL(32)
    for (size_t c = 0; c < kChains; ++c) {
      hwy::Prefetch(words + i + c * lanes + kAhead);
      sums[c] = hn::Add(sums[c], hn::Load(d, words + i + c * lanes));
    }
  }
  HWY_UNROLL(32)
  for (size_t c = 1; c < kChains; ++c) sums[0] = hn::Add(sums[0], sums[c]);
  return hn::ReduceSum(d, sums[0]);
}

}  // namespace HWY_NAMESPACE
}  // namespace ulpscope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulpscope {

HWY_EXPORT(RunFmas);
HWY_EXPORT(ReadWords);

namespace {

constexpr int kRuns = 10;

double SecondsSince(double start) { return SteadySeconds() - start; }

}  // namespace

bool TakeTargetFlag(int& argc, char** argv) {
  constexpr absl::string_view kFlag = "--target=";
  for (int i = 1; i < argc; ++i) {
    absl::string_view name = argv[i];
    if (!absl::ConsumePrefix(&name, kFlag)) continue;
    std::string names;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      if (name == hwy::TargetName(target)) {
        hwy::SetSupportedTargetsForTest(target);
        // The null at the end too.
        std::copy(argv + i + 1, argv + argc + 1, argv + i);
        --argc;
        return true;
      }
      absl::StrAppend(&names, " ", hwy::TargetName(target));
    }
    absl::FPrintF(stderr, "%s%s: expected one of%s\n", kFlag, name, names);
    return false;
  }
  return true;
}

std::vector<size_t> ThreadCounts() {
  const size_t most = AvailableCpus();
  if (most == 1) return {1};
  return {1, most};
}

double DoFmas(Parallel& parallel, size_t steps) {
  std::atomic<int64_t> flops{0};
  std::atomic<float> sink{0};
  parallel.For(parallel.num_threads(), [&](size_t /*thread*/) {
    float sum = 0;
    flops += static_cast<int64_t>(HWY_DYNAMIC_DISPATCH(RunFmas)(steps, &sum));
    sink.store(sum);
  });
  return static_cast<double>(flops);
}

ReadBuffer::ReadBuffer() : buffer_(AllocateAlignedBytes(kBytes)) {
  // Bits as mixed as a model's: what a transfer costs may depend on them.
  auto* words = reinterpret_cast<uint64_t*>(buffer_.get());
  for (size_t i = 0; i < kBytes / sizeof(uint64_t); ++i) {
    words[i] = (i + 1) * 0x9E3779B97F4A7C15u;
  }
}

void ReadBuffer::Read(Parallel& parallel) const {
  constexpr size_t kTaskBytes = size_t{4} << 20;
  std::atomic<uint64_t> sink{0};
  parallel.For(kBytes / kTaskBytes, [&](size_t task) {
    sink += HWY_DYNAMIC_DISPATCH(ReadWords)(
        reinterpret_cast<const uint64_t*>(buffer_.get() + task * kTaskBytes),
        kTaskBytes / sizeof(uint64_t));
  });
}

double MeasureFmaPeak(size_t threads) {
  Parallel parallel(threads);
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const double start = SteadySeconds();
    const double flops = DoFmas(parallel, kLongFmaSteps);
    best = std::max(best, flops / SecondsSince(start));
  }
  return best;
}

double MeasureReadBandwidth(size_t threads) {
  Parallel parallel(threads);
  const ReadBuffer buffer;
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const double start = SteadySeconds();
    buffer.Read(parallel);
    best = std::max(
        best, static_cast<double>(ReadBuffer::kBytes) / SecondsSince(start));
  }
  return best;
}

}  // namespace ulpscope
#endif  // HWY_ONCE
