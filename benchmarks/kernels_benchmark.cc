// Speed of every kernel under every strategy that takes it, on the shapes of
// the seed report's model, and the machine's limits to judge it by. Each MatMul
// is first held to its error bound: a wrong answer is not timed.
//
//   bazel run //benchmarks -- --benchmark_filter=MatMul/kahan

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/machine.h"
#include "hwy/base.h"
#include "kernels/cpu.h"
#include "kernels/format.h"
#include "kernels/matmul.h"
#include "kernels/matrix.h"
#include "kernels/measure/random.h"
#include "kernels/panels.h"
#include "kernels/parallel.h"
#include "kernels/rmsnorm.h"
#include "kernels/softmax.h"
#include "kernels/strategy.h"

namespace ulpscope {
namespace {

struct MatMulShape {
  const char* name;
  size_t n, k;
};

constexpr MatMulShape kMatMulShapes[] = {
    {"q_proj", 896, 896},
    {"gate_proj", 4864, 896},
    {"down_proj", 896, 4864},
    {"lm_head", 151936, 896},
};

// The machine's limits per number of threads, measured by the benchmarks that
// are registered first; 0 where a filter left them out.
struct Limits {
  double flops = 0;
  double bytes = 0;
};

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

// Normally distributed, of the standard deviation that weights have; bf16.
std::vector<hwy::bfloat16_t> RandomWeights(size_t count) {
  Random random(1);
  std::vector<hwy::bfloat16_t> weights(count);
  for (hwy::bfloat16_t& w : weights) {
    w = hwy::BF16FromF32(static_cast<float>(0.02 * random.Gaussian()));
  }
  return weights;
}

// Packed once per shape: the large ones take a second.
const Panels& WeightsOf(const MatMulShape& shape, Parallel& parallel) {
  static auto* const packed = new std::map<std::string, Panels>();
  const auto found = packed->find(shape.name);
  if (found != packed->end()) return found->second;
  const auto weights = RandomWeights(shape.n * shape.k);
  return packed
      ->emplace(shape.name, Panels(DType::kBF16, weights.data(), shape.n,
                                   shape.k, parallel))
      .first->second;
}

// Values that every strategy's operand format holds.
std::vector<double> RandomActivations(size_t count) {
  Random random(2);
  std::vector<double> values(count);
  for (double& v : values) {
    v = hwy::F32FromBF16(
        hwy::BF16FromF32(static_cast<float>(random.Gaussian())));
  }
  return values;
}

// The largest |computed - f64| over the strategy's bound, among some 64 outputs
// of the first row; more than 1 is wrong.
double WorstOverBound(Strategy strategy, const MatMulShape& shape,
                      const Panels& weights, const std::vector<double>& a,
                      const std::vector<double>& c) {
  double worst = 0;
  std::vector<double> row(shape.k);
  const size_t step = std::max<size_t>(1, shape.n / 64);
  for (size_t j = 0; j < shape.n; j += step) {
    weights.CopyRow(j, row.data());
    SumTerms terms;
    terms.n = shape.k;
    double exact = 0;
    for (size_t i = 0; i < shape.k; ++i) {
      exact += row[i] * a[i];
      terms.abs_terms += std::fabs(row[i] * a[i]);
    }
    terms.abs_result = std::fabs(exact);
    // The f64 loop above has an error of its own.
    const double bound =
        strategy.info().error_bound(terms) +
        Gamma(static_cast<double>(shape.k), UnitRoundoff(Format::kF64)) *
            terms.abs_terms;
    worst = std::max(worst, std::fabs(c[j] - exact) / bound);
  }
  return worst;
}

void BenchmarkMatMul(benchmark::State& state, Strategy strategy,
                     const MatMulShape& shape, size_t rows, size_t threads) {
  Parallel parallel(threads);
  const Panels& weights = WeightsOf(shape, parallel);
  const std::vector<double> a = RandomActivations(rows * shape.k);
  std::vector<double> c(rows * shape.n);
  MatMulArgs<double> args;
  args.a = {a.data(), rows, shape.k};
  args.b = weights.view();
  args.c = {c.data(), rows, shape.n};
  MatMul(strategy, args, parallel);
  if (!(WorstOverBound(strategy, shape, weights, a, c) <= 1)) {
    state.SkipWithError("outside the strategy's error bound");
    return;
  }
  for (auto _ : state) {
    MatMul(strategy, args, parallel);
    benchmark::ClobberMemory();
  }
  const double flops = 2 * static_cast<double>(rows * shape.n * shape.k);
  const auto rate = [&](const char* name, double amount) {
    state.counters[name] = benchmark::Counter(
        amount, benchmark::Counter::kIsIterationInvariantRate);
  };
  const double bytes = static_cast<double>(weights.bytes());
  rate("FLOP", flops);
  rate("bytes", bytes);
  const Limits& limits = LimitsOf(threads);
  // In percent; Google Benchmark prints "/s" behind every rate.
  if (limits.flops > 0) {
    rate("%FMA", 100 * flops / limits.flops);
    rate("%read", 100 * bytes / limits.bytes);
  }
  state.SetLabel(KernelTarget());
}

void BenchmarkRmsNorm(benchmark::State& state, Strategy strategy, size_t n) {
  Parallel serial;
  const std::vector<double> x = RandomActivations(n);
  const std::vector<double> weight(n, 1.0);
  std::vector<double> y(n);
  const RmsNormArgs<double> args = {
      {x.data(), 1, n}, weight.data(), 1e-6, {y.data(), 1, n}};
  for (auto _ : state) {
    RmsNorm(strategy, args, serial);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(n));
  state.SetLabel(KernelTarget());
}

void BenchmarkSoftmax(benchmark::State& state, Strategy strategy, size_t n) {
  const std::vector<double> x = RandomActivations(n);
  std::vector<double> y(n);
  for (auto _ : state) {
    Softmax<double>(strategy, {x.data(), 1, n}, {y.data(), 1, n});
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(n));
  state.SetLabel(KernelTarget());
}

void RegisterMatMul(Strategy strategy, const MatMulShape& shape, size_t rows,
                    size_t threads) {
  benchmark::RegisterBenchmark(
      absl::StrCat("MatMul/", strategy.name(), "/", shape.name, "/rows:", rows,
                   "/threads:", threads),
      [=](benchmark::State& state) {
        BenchmarkMatMul(state, strategy, shape, rows, threads);
      })
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

void RegisterAll() {
  const size_t most = std::max(1u, std::thread::hardware_concurrency());
  std::vector<size_t> thread_counts = {1};
  if (most > 1) thread_counts.push_back(most);
  for (const size_t threads : thread_counts) {
    benchmark::RegisterBenchmark(absl::StrCat("Machine/threads:", threads),
                                 [threads](benchmark::State& state) {
                                   BenchmarkMachine(state, threads);
                                 })
        ->Iterations(1)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
  for (size_t i = 0; i < Strategies().size(); ++i) {
    const Strategy strategy(i);
    for (const MatMulShape& shape : kMatMulShapes) {
      for (const size_t rows : {1, 32, 512}) {
        for (const size_t threads : thread_counts) {
          RegisterMatMul(strategy, shape, rows, threads);
        }
      }
    }
    if (strategy.Takes(Kernel::kRmsNorm)) {
      benchmark::RegisterBenchmark(
          absl::StrCat("RmsNorm/", strategy.name(), "/896"),
          [=](benchmark::State& state) {
            BenchmarkRmsNorm(state, strategy, 896);
          });
    }
    if (strategy.Takes(Kernel::kSoftmax)) {
      for (const size_t n : {128, 4096}) {
        benchmark::RegisterBenchmark(
            absl::StrCat("Softmax/", strategy.name(), "/", n),
            [=](benchmark::State& state) {
              BenchmarkSoftmax(state, strategy, n);
            });
      }
    }
  }
}

}  // namespace
}  // namespace ulpscope

int main(int argc, char** argv) {
  ulpscope::RegisterAll();
  benchmark::AddCustomContext("cpu", ulpscope::CpuName());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
