#include <cmath>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "benchmark/benchmark.h"
#include "benchmarks/answers.h"
#include "benchmarks/inputs.h"
#include "benchmarks/kernels_benchmark.h"
#include "benchmarks/shapes.h"
#include "hwy/aligned_allocator.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/residual.h"
#include "kernels/ops/rmsnorm.h"
#include "kernels/ops/softmax.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {
namespace {

std::vector<double> FirstRow(const hwy::AlignedVector<double>& values,
                             size_t n) {
  return std::vector<double>(values.begin(), values.begin() + n);
}

// Times `run` if its results, the first row of `y`, are right. Per element of y
// it does `flops`, where an exponential, a quotient and a square root count one
// each, and moves `moved` values.
void TimeRows(benchmark::State& state, const std::vector<Answer>& answers,
              hwy::AlignedVector<double>& y, double flops, double moved,
              const std::function<void()>& run) {
  run();
  if (!(WorstOverBound(FirstRow(y, answers.size()), answers) <= 1)) {
    SkipWrongAnswer(state);
    return;
  }
  for (auto _ : state) {
    run();
    benchmark::ClobberMemory();
  }
  const double elements = static_cast<double>(y.size());
  ReportRates(state, 1, flops * elements, moved * sizeof(double) * elements);
}

void BenchmarkRmsNorm(benchmark::State& state, Strategy strategy, size_t rows,
                      size_t n) {
  constexpr double kEps = 1e-6;
  Parallel serial;
  const hwy::AlignedVector<double> x = RandomActivations<double>(rows * n);
  const hwy::AlignedVector<double> weight = RandomActivations<double>(n);
  hwy::AlignedVector<double> y(rows * n);
  RmsNormArgs args;
  args.x = {x.data(), rows, n};
  args.weight = weight.data();
  args.eps = kEps;
  args.y = {y.data(), rows, n};
  TimeRows(state, RmsNormAnswers(strategy.info(), FirstRow(x, n), weight, kEps),
           y, 4, 2, [&] { RmsNorm(strategy, args, serial); });
}

void BenchmarkSoftmax(benchmark::State& state, Strategy strategy, size_t rows,
                      size_t n) {
  const hwy::AlignedVector<double> x = RandomActivations<double>(rows * n);
  hwy::AlignedVector<double> y(rows * n);
  TimeRows(state, SoftmaxAnswers(strategy.info(), FirstRow(x, n)), y, 4, 2,
           [&] {
             Softmax(strategy, {x.data(), rows, n}, {y.data(), rows, n});
           });
}

void BenchmarkSwiGlu(benchmark::State& state, Strategy strategy, size_t rows,
                     size_t n) {
  Parallel serial;
  const hwy::AlignedVector<double> x = RandomActivations<double>(2 * rows * n);
  const Matrix<const double> gate(x.data(), rows, n);
  const Matrix<const double> up(x.data() + rows * n, rows, n);
  hwy::AlignedVector<double> y(rows * n);
  TimeRows(state,
           SwiGluAnswers(strategy.info(),
                         std::vector<double>(gate.data, gate.data + n),
                         std::vector<double>(up.data, up.data + n)),
           y, 4, 3, [&] {
             SwiGlu(strategy, gate, up, {y.data(), rows, n}, serial);
           });
}

// In place: the timed calls go on rotating, which keeps the lengths.
void BenchmarkRope(benchmark::State& state, Strategy strategy, size_t rows,
                   size_t n) {
  std::vector<double> cos, sin;
  for (size_t i = 0; i < n / 2; ++i) {
    cos.push_back(std::cos(static_cast<double>(i)));
    sin.push_back(std::sin(static_cast<double>(i)));
  }
  hwy::AlignedVector<double> x = RandomActivations<double>(rows * n);
  TimeRows(state, RopeAnswers(strategy.info(), cos, sin, FirstRow(x, n)), x, 3,
           2, [&] {
             Rope(strategy, cos.data(), sin.data(), {x.data(), rows, n});
           });
}

// In place: the timed calls go on adding, until f32 takes no more.
void BenchmarkAddResidual(benchmark::State& state, Strategy strategy,
                          size_t rows, size_t n) {
  const size_t count = rows * n;
  const hwy::AlignedVector<double> update = RandomActivations<double>(count);
  hwy::AlignedVector<double> stream(update.rbegin(), update.rend());
  std::vector<double> carry(count);
  TimeRows(state,
           ResidualAnswers(strategy.info(), FirstRow(stream, count),
                           FirstRow(update, count)),
           stream, 1, 5, [&] {
             AddResidual(strategy, update.data(), count, stream.data(),
                         carry.data());
           });
}

using RowBenchmark = void (*)(benchmark::State&, Strategy, size_t rows,
                              size_t n);

struct RowKernel {
  const char* name;
  Kernel kernel;
  RowBenchmark run;
};

constexpr RowKernel kRmsNorm = {"RmsNorm", Kernel::kRmsNorm, &BenchmarkRmsNorm};
constexpr RowKernel kSoftmax = {"Softmax", Kernel::kSoftmax, &BenchmarkSoftmax};
constexpr RowKernel kSwiGlu = {"SwiGlu", Kernel::kElementwise,
                               &BenchmarkSwiGlu};
constexpr RowKernel kRope = {"Rope", Kernel::kElementwise, &BenchmarkRope};
constexpr RowKernel kAddResidual = {"AddResidual", Kernel::kResidual,
                                    &BenchmarkAddResidual};

void Register(const RowKernel& kernel, absl::string_view shape, size_t rows,
              size_t n) {
  for (size_t i = 0; i < Strategies().size(); ++i) {
    const Strategy strategy(i);
    if (!strategy.Takes(kernel.kernel)) continue;
    benchmark::RegisterBenchmark(
        absl::StrCat(kernel.name, "/", strategy.name(), "/", shape,
                     "/rows:", rows),
        [=](benchmark::State& state) { kernel.run(state, strategy, rows, n); });
  }
}

}  // namespace

void RegisterRowKernels() {
  for (const ModelShape& model : kModelShapes) {
    const auto named = [&](const char* name) {
      return absl::StrCat(model.name, "/", name);
    };
    for (const size_t rows : {1, 512}) {
      Register(kRmsNorm, named("hidden"), rows, model.hidden);
      Register(kSwiGlu, named("intermediate"), rows, model.intermediate);
      Register(kAddResidual, named("hidden"), rows, model.hidden);
    }
    // One position: QK-norm and RoPE of a token's heads.
    if (model.head_dim >= 128) {
      Register(kRmsNorm, named("heads"), model.heads, model.head_dim);
    }
    Register(kRope, named("heads"), model.heads, model.head_dim);
  }
  for (const size_t scores : {128, 512, 4096, 32768}) {
    Register(kSoftmax, absl::StrCat("scores:", scores), 1, scores);
  }
}

}  // namespace ulpscope
