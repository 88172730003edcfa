#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/inputs.h"
#include "benchmarks/kernels_benchmark.h"
#include "benchmarks/machine.h"
#include "benchmarks/shapes.h"
#include "benchmarks/weights.h"
#include "hwy/aligned_allocator.h"
#include "kernels/base/dtype.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/matmul_check.h"

namespace ulpscope {
namespace {

// Rows of decoding: each weight is read once per call, from memory.
constexpr size_t kDecodeRows = 4;

// Weights are bf16, as checkpoints have them.
void BenchmarkMatMul(benchmark::State& state, Strategy strategy,
                     const MatMulShape& shape, size_t rows, size_t threads) {
  Parallel parallel(threads);
  // No more copies than there are iterations to use them.
  const size_t bytes = shape.n * shape.k * DTypeSize(DType::kBF16);
  const size_t copies =
      rows > kDecodeRows ? 1
                         : std::min(ColdCopies(bytes),
                                    static_cast<size_t>(state.max_iterations));
  Weights& weights = WeightsOf(shape);
  const std::vector<PanelsView> panels =
      weights.PanelCopies(DType::kBF16, copies, parallel);
  const hwy::AlignedVector<double> a =
      RandomActivations<double>(rows * shape.k);
  hwy::AlignedVector<double> c(rows * shape.n);
  MatMulArgs args;
  args.a = {a.data(), rows, shape.k};
  args.b = panels[0];
  args.c = {c.data(), rows, shape.n};
  MatMul(strategy, args, parallel);
  if (BoundsAnyOperands(strategy) &&
      !(weights.Check(args.a).WorstOverBound(strategy, args.c) <= 1)) {
    SkipWrongAnswer(state);
    return;
  }
  size_t copy = 0;
  for (auto _ : state) {
    copy = copy + 1 < copies ? copy + 1 : 0;
    args.b = panels[copy];
    MatMul(strategy, args, parallel);
    benchmark::ClobberMemory();
  }
  ReportRates(state, threads, 2 * static_cast<double>(rows * shape.n * shape.k),
              static_cast<double>(bytes));
}

}  // namespace

void RegisterMatMuls() {
  for (const ModelShape& model : kModelShapes) {
    for (const MatMulShape& shape : MatMulShapes(model)) {
      for (size_t i = 0; i < Strategies().size(); ++i) {
        const Strategy strategy(i);
        if (!strategy.Takes(Kernel::kMatMul)) continue;
        for (const size_t rows : {1, 4, 32, 128, 512}) {
          // Only the last position's logits are needed of a prompt.
          if (shape.is_lm_head() && rows > kDecodeRows) continue;
          for (const size_t threads : ThreadCounts()) {
            benchmark::RegisterBenchmark(
                absl::StrCat("MatMul/", strategy.name(), "/", shape.name,
                             "/rows:", rows, "/threads:", threads),
                [=](benchmark::State& state) {
                  BenchmarkMatMul(state, strategy, shape, rows, threads);
                })
                ->UseRealTime()
                ->Unit(benchmark::kMillisecond);
          }
        }
      }
    }
  }
}

}  // namespace ulpscope
