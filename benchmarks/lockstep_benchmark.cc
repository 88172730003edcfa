// What lockstep evaluation saves: many plans in one pass over the weights
// against the same plans one after the other, in the same process.
//
//   bazel run //benchmarks:lockstep -- --benchmark_repetitions=3
//
// The time is that of the lockstep pass; `single_s` that of the plans one by
// one, `ratio` the first by the second.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "explorer/attribution/attribution.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/sweep.h"
#include "kernels/base/machine_limits.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/base/steady_clock.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep.h"

namespace ulpscope {
namespace {

const std::vector<int32_t>& Token() {
  static const auto* const token = new std::vector<int32_t>{9707};
  return *token;
}

// Reads all that it is shown, so that no output is left uncomputed.
class Reader : public LockstepObserver {
 public:
  bool Wants(Op op) const override {
    return op == Op::kFinalNorm || op == Op::kLmHead;
  }
  void OnOutput(absl::Span<const size_t> streams, size_t, Op, size_t,
                Matrix<const double> rows) override {
    double first = rows.data[0];
    benchmark::DoNotOptimize(first);
    seen += streams.size();
  }
  size_t seen = 0;
};

double Seconds(const std::function<void()>& work) {
  const double start = SteadySeconds();
  work();
  return SteadySeconds() - start;
}

void Compare(benchmark::State& state, const Weights& weights,
             const std::vector<Plan>& plans, Logits logits,
             Parallel& parallel) {
  double lockstep = 0, single = 0;
  const auto run_lockstep = [&] {
    std::vector<Stream> streams;
    for (const Plan& plan : plans) streams.push_back({plan, Token()});
    LockstepOptions options;
    options.logits = logits;
    Reader reader;
    const absl::Status status =
        RunLockstep(weights, streams, options, reader, parallel);
    if (!status.ok()) state.SkipWithError(std::string(status.message()));
  };
  run_lockstep();  // warms up
  for (auto _ : state) {
    const double seconds = Seconds(run_lockstep);
    state.SetIterationTime(seconds);
    lockstep += seconds;
    single += Seconds([&] {
      for (const Plan& plan : plans) {
        Decoder decoder(weights, plan, Token().size(), parallel);
        const absl::Status status = decoder.Forward(Token(), logits);
        if (!status.ok()) state.SkipWithError(std::string(status.message()));
        const double* logits_data = decoder.logits().data;
        benchmark::DoNotOptimize(logits_data);
      }
    });
  }
  state.counters["plans"] = static_cast<double>(plans.size());
  state.counters["single_s"] =
      benchmark::Counter(single, benchmark::Counter::kAvgIterations);
  state.counters["ratio"] = lockstep / single;
}

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const auto checkpoint = OpenCheckpoint("synthetic:seed");
  Parallel parallel(AvailableCpus());
  absl::StatusOr<Weights> weights = checkpoint.status();
  if (checkpoint.ok()) {
    weights = LoadWeights(*checkpoint, parallel, [](size_t, size_t) {});
  }
  if (!weights.ok()) {
    std::fprintf(stderr, "%s\n",
                 std::string(weights.status().message()).c_str());
    return 1;
  }
  const size_t num_layers = weights->layers.size();

  const Plan oracle = Plan::Parse("oracle", num_layers).value();
  const Plan bf16 = Plan::Parse("torch-bf16", num_layers).value();
  std::vector<Plan> cells;
  for (const Cell& cell : CellsOf(weights->config)) {
    if (!IsPerLayer(cell.op)) continue;
    cells.push_back(oracle);
    cells.back().Set(cell.layer, cell.op, bf16.Get(cell.layer, cell.op));
  }
  SweepOptions sweep;
  sweep.axes = ParseAxes(kDefaultAxes, num_layers).value();
  const std::vector<Plan> plans = PlansOf(sweep, num_layers).value();

  const auto add = [&](const char* name, const std::vector<Plan>& of,
                       Logits logits) {
    benchmark::RegisterBenchmark(
        name,
        [&weights, &of, &parallel, logits](benchmark::State& state) {
          Compare(state, *weights, of, logits, parallel);
        })
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  };
  // To the final hidden state, as its ranking needs; without the logits.
  add("CauseMap/synthetic:seed/1_token", cells, Logits::kNone);
  add("SweepErrors/synthetic:seed/1_token", plans, Logits::kAll);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace ulpscope

int main(int argc, char** argv) { return ulpscope::Main(argc, argv); }
