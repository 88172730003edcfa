#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/answers.h"
#include "benchmarks/inputs.h"
#include "benchmarks/onednn.h"
#include "benchmarks/peers.h"
#include "benchmarks/rounds.h"
#include "hwy/aligned_allocator.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/rmsnorm.h"
#include "kernels/ops/softmax.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {
namespace {

constexpr float kEps = 1e-6f;

// Contenders that turn rows x into y, on one thread; work is the elements. Ours
// have x and y in f64, as decoders do, peers in f32.
class RowCase {
 public:
  RowCase(size_t rows, size_t n)
      : rows_(rows),
        n_(n),
        x_(RandomActivations<double>(rows * n)),
        x_f32_(x_.begin(), x_.end()),
        y_(rows * n),
        y_f32_(rows * n) {
    SetOneDnnThreads(1);
  }

  Matrix<const double> x() const { return {x_.data(), rows_, n_}; }
  Matrix<double> y() { return {y_.data(), rows_, n_}; }
  Matrix<const float> peer_x() const { return {x_f32_.data(), rows_, n_}; }
  Matrix<float> peer_y() { return {y_f32_.data(), rows_, n_}; }
  std::vector<double> last_x() const { return LastRow(x_); }

  // The answers are the last row's.
  void Add(std::string name, const std::vector<Answer>& answers,
           std::function<void()> call) {
    AddJudged(std::move(name), answers, std::move(call), y_);
  }

  void AddOneDnn(const char* name, const std::vector<Answer>& answers,
                 absl::StatusOr<OneDnnCall> made) {
    if (!made.ok()) {
      contenders_.push_back(Refused(name, made.status()));
      return;
    }
    AddJudged(absl::StrCat(name, " (", made->implementation, ")"), answers,
              std::move(made->call), y_f32_);
  }

  void Run(benchmark::State& state, std::string what) {
    PeerTable table;
    table.title = absl::StrCat(what, ", ", rows_, rows_ == 1 ? " row" : " rows",
                               " of ", n_, ", 1 thread");
    table.unit = "elem/ns";
    RunPeers(state, table, std::move(contenders_));
  }

 private:
  template <typename T>
  void AddJudged(std::string name, const std::vector<Answer>& answers,
                 std::function<void()> call, hwy::AlignedVector<T>& y) {
    std::fill(y.begin(), y.end(), std::numeric_limits<T>::quiet_NaN());
    call();
    contenders_.push_back(Checked(
        {std::move(name), std::move(call), static_cast<double>(y.size())},
        WorstOverBound(LastRow(y), answers)));
  }

  template <typename T>
  std::vector<double> LastRow(const hwy::AlignedVector<T>& values) const {
    return std::vector<double>(values.end() - static_cast<ptrdiff_t>(n_),
                               values.end());
  }

  const size_t rows_, n_;
  const hwy::AlignedVector<double> x_;
  const hwy::AlignedVector<float> x_f32_;
  hwy::AlignedVector<double> y_;
  hwy::AlignedVector<float> y_f32_;
  std::vector<Contender> contenders_;
};

void BenchmarkSoftmax(benchmark::State& state, size_t rows, size_t n) {
  RowCase contest(rows, n);
  for (const char* name : {"f32", "kahan"}) {
    const Strategy strategy = FindStrategy(name, Kernel::kSoftmax).value();
    contest.Add(
        absl::StrCat("ours ", name),
        SoftmaxAnswers(strategy.info(), contest.last_x()),
        [&contest, strategy] { Softmax(strategy, contest.x(), contest.y()); });
  }
  contest.AddOneDnn("oneDNN softmax", PeerSoftmaxAnswers(contest.last_x()),
                    OneDnnSoftmax(contest.peer_x(), contest.peer_y()));
  contest.Run(state, "softmax");
}

void BenchmarkRmsNorm(benchmark::State& state, size_t rows, size_t n) {
  RowCase contest(rows, n);
  Parallel serial;
  const hwy::AlignedVector<double> weight = RandomActivations<double>(n);
  const hwy::AlignedVector<float> scale(weight.begin(), weight.end());
  for (const char* name : {"f32", "kahan"}) {
    const Strategy strategy = FindStrategy(name, Kernel::kRmsNorm).value();
    contest.Add(absl::StrCat("ours ", name),
                RmsNormAnswers(strategy.info(), contest.last_x(), weight, kEps),
                [&contest, &serial, &weight, strategy] {
                  RmsNormArgs args;
                  args.x = contest.x();
                  args.weight = weight.data();
                  args.eps = kEps;
                  args.y = contest.y();
                  RmsNorm(strategy, args, serial);
                });
  }
  contest.AddOneDnn(
      "oneDNN layer norm", PeerLayerNormAnswers(contest.last_x(), weight, kEps),
      OneDnnLayerNorm(contest.peer_x(), scale.data(), kEps, contest.peer_y()));
  contest.Run(state,
              "RMSNorm (oneDNN has none: layer normalization, which computes a "
              "mean and a variance)");
}

using Case = void (*)(benchmark::State&, size_t, size_t);

void Register(const char* kind, Case run, size_t rows, size_t n) {
  benchmark::RegisterBenchmark(
      absl::StrCat(kind, "/n:", n, "/rows:", rows),
      [=](benchmark::State& state) { run(state, rows, n); });
}

}  // namespace

void RegisterPeerRows() {
  // One row, with what a call costs, and rows whose x and y stay in L2.
  constexpr size_t kElements = size_t{1} << 16;
  for (const size_t n : {128, 512, 4096, 32768}) {
    for (const size_t rows : {size_t{1}, kElements / n}) {
      Register("softmax", &BenchmarkSoftmax, rows, n);
      Register("rmsnorm", &BenchmarkRmsNorm, rows, n);
    }
  }
}

}  // namespace ulpscope
