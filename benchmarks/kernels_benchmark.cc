// Speed of every kernel under every strategy that takes it, on the shapes of
// three models, and the machine's limits to judge it by. Each is first held to
// an error bound: a wrong answer is not timed.
//
//   bazel run //benchmarks -- --benchmark_filter='Machine|MatMul/kahan/seed'

#include "benchmarks/kernels_benchmark.h"

#include <cstddef>
#include <map>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/machine.h"
#include "kernels/base/cpu.h"

namespace ulpscope {
namespace {

// 0 where a filter left Machine out.
struct Limits {
  double flops = 0;
  double bytes = 0;
};

bool any_wrong_answer = false;

Limits& LimitsOf(size_t threads) {
  static auto* const limits = new std::map<size_t, Limits>();
  return (*limits)[threads];
}

// A whole measurement is one iteration.
void BenchmarkMachine(benchmark::State& state, size_t threads) {
  Limits& limits = LimitsOf(threads);
  for (auto _ : state) {
    limits = {MeasureFmaPeak(threads), MeasureReadBandwidth(threads)};
  }
  state.counters["FLOP/s"] = limits.flops;
  state.counters["bytes/s"] = limits.bytes;
  state.SetLabel(KernelTarget());
}

}  // namespace

void RegisterMachine() {
  for (const size_t threads : ThreadCounts()) {
    benchmark::RegisterBenchmark(absl::StrCat("Machine/threads:", threads),
                                 [threads](benchmark::State& state) {
                                   BenchmarkMachine(state, threads);
                                 })
        ->Iterations(1)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
}

void ReportRates(benchmark::State& state, size_t threads, double flops,
                 double bytes) {
  const auto rate = [&](const char* name, double amount) {
    state.counters[name] = benchmark::Counter(
        amount, benchmark::Counter::kIsIterationInvariantRate);
  };
  rate("FLOP", flops);
  rate("bytes", bytes);
  const Limits& limits = LimitsOf(threads);
  if (limits.flops > 0) {
    rate("%FMA", 100 * flops / limits.flops);
    rate("%read", 100 * bytes / limits.bytes);
  }
  state.SetLabel(KernelTarget());
}

void SkipWrongAnswer(benchmark::State& state) {
  any_wrong_answer = true;
  state.SkipWithError("outside the strategy's error bound");
}

}  // namespace ulpscope

int main(int argc, char** argv) {
  if (!ulpscope::TakeTargetFlag(argc, argv)) return 1;
  ulpscope::RegisterMachine();
  ulpscope::RegisterMatMuls();
  ulpscope::RegisterRowKernels();
  benchmark::AddCustomContext("cpu", ulpscope::CpuName());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return ulpscope::any_wrong_answer ? 1 : 0;
}
