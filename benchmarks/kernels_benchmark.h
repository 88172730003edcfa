#ifndef BENCHMARKS_KERNELS_BENCHMARK_H_
#define BENCHMARKS_KERNELS_BENCHMARK_H_

#include <cstddef>

#include "benchmark/benchmark.h"

namespace ulpscope {

// Percentages of the machine's limits are reported by the benchmarks that run
// after these.
void RegisterMachine();
void RegisterMatMuls();
void RegisterRowKernels();

// Counters of a benchmark whose iteration does `flops` FLOPs and moves `bytes`
// to or from memory: rates and, if Machine ran for that many threads, percents
// of its limits ("%FMA", "%read"; Google Benchmark prints "/s" behind every
// rate). An FMA counts two FLOPs. Rows that stay in cache are moved faster than
// memory is read: more than 100 %.
void ReportRates(benchmark::State& state, size_t threads, double flops,
                 double bytes);

// For an answer outside its bound: nothing is timed, and the program fails.
void SkipWrongAnswer(benchmark::State& state);

}  // namespace ulpscope

#endif  // BENCHMARKS_KERNELS_BENCHMARK_H_
