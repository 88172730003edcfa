#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/inputs.h"
#include "benchmarks/machine.h"
#include "benchmarks/onednn.h"
#include "benchmarks/openblas.h"
#include "benchmarks/peers.h"
#include "benchmarks/rounds.h"
#include "benchmarks/shapes.h"
#include "benchmarks/weights.h"
#include "hwy/aligned_allocator.h"
#include "hwy/base.h"
#include "kernels/base/cpu.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/base/steady_clock.h"
#include "kernels/ops/block_layout.h"
#include "kernels/ops/block_type.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "kernels/tune/matmul_check.h"

namespace ulpscope {
namespace {

Strategy Named(const char* name) {
  return FindStrategy(name, Kernel::kMatMul).value();
}

std::string ThreadsText(size_t threads) {
  return absl::StrCat(threads, threads == 1 ? " thread" : " threads");
}

// The contenders of C = A B^T with m rows of A: ours as decoders call it, A and
// C in f64, peers in f32. In decoding (few rows)
// work is the bytes of weights read, and each form of them has copies enough to
// be read from memory; otherwise work is FLOPs, two per product.
class MatMulCase {
 public:
  MatMulCase(const MatMulShape& shape, size_t m, size_t threads, bool decode)
      : weights_(WeightsOf(shape)),
        decode_(decode),
        m_(m),
        parallel_(threads),
        a_(RandomActivations<double>(m * shape.k)),
        a_f32_(a_.begin(), a_.end()),
        c_(m * shape.n),
        c_f32_(m * shape.n),
        check_(weights_.Check({a_.data(), m, shape.k})) {
    for (const float v : a_f32_) a_bf16_.push_back(hwy::BF16FromF32(v));
    SetOpenBlasThreads(threads);
    SetOneDnnThreads(threads);
  }

  // f32's bound is that of a sum in any order, products rounded or not.
  void AddOurs(const char* strategy_name, DType dtype) {
    const Strategy strategy = Named(strategy_name);
    const std::vector<PanelsView> panels =
        weights_.PanelCopies(dtype, Copies(dtype), parallel_);
    // An FMA of the peak is two FLOPs per instruction and lane, and so is a
    // product here, whatever number of instructions it takes.
    const double share = decode_ ? 1
                         : strategy.info().needs_bf16_dot
                             ? 0
                             : 1.0 / strategy.info().instructions_per_product;
    Add(absl::StrCat("ours ", strategy_name, ", ", DTypeName(dtype),
                     " weights"),
        dtype, share, strategy,
        [this, strategy, panels, copy = size_t{0}]() mutable {
          copy = copy + 1 < panels.size() ? copy + 1 : 0;
          RunOurs(strategy, panels[copy]);
        });
    StayAwake(contenders_.back());
  }

  // The CPU's dot products of bf16, if it has any: how many FLOPs they do for
  // one of an FMA differs between CPUs, so the peak is not their limit.
  void AddBf16Hw() {
    if (CpuHasBf16Dot()) AddOurs("bf16_hw", DType::kBF16);
  }

  // f32 with weights in such blocks, whose bytes are those of the panels.
  void AddBlocks(const char* type_name) {
    const BlockType& type = *FindBlockType(type_name);
    const MatMulShape& shape = weights_.shape();
    if (shape.k % type.layout.elements != 0) return;
    const size_t bytes = shape.n / kPanelWidth * shape.k /
                         type.layout.elements * type.layout.panel_bytes();
    const std::vector<PanelsView> panels =
        weights_.BlockCopies(type, decode_ ? ColdCopies(bytes) : 1, parallel_);
    const auto call = [this, panels, copy = size_t{0}]() mutable {
      copy = copy + 1 < panels.size() ? copy + 1 : 0;
      RunOurs(Strategy(), panels[copy]);
    };
    RunOurs(Strategy(), panels[0]);
    const double worst =
        weights_.BlocksCheck(type, {a_.data(), m_, shape.k})
            .WorstOverBound(Strategy(), {c_.data(), m_, shape.n});
    contenders_.push_back(
        Checked({absl::StrCat("ours f32, ", type_name, " weights"), call,
                 decode_ ? static_cast<double>(bytes) : Flops(), 1},
                worst));
    StayAwake(contenders_.back());
  }

  void AddOpenBlas() {
    const auto copies = weights_.WideCopies(Copies(DType::kF32));
    AddPeer(m_ == 1 ? "OpenBLAS sgemv" : "OpenBLAS sgemm", DType::kF32, 1,
            [this, copies, copy = size_t{0}]() mutable {
              copy = copy + 1 < copies.size() ? copy + 1 : 0;
              OpenBlasMatMul(a(), copies[copy], c());
            });
  }

  void AddOneDnnF32() {
    AddOneDnn(
        "oneDNN f32", DType::kF32, 1,
        OneDnnMatMul(a(), weights_.WideCopies(1)[0], c(), Copies(DType::kF32)));
  }

  // Its activations are bf16 too, and its instructions may do more FLOPs than
  // an FMA of f32: the peak is not its limit.
  void AddOneDnnBf16() {
    const Matrix<const hwy::bfloat16_t> a(a_bf16_.data(), m_,
                                          weights_.shape().k);
    const Matrix<const hwy::bfloat16_t> b(
        weights_.row_major().data(), weights_.shape().n, weights_.shape().k);
    AddOneDnn("oneDNN bf16", DType::kBF16, decode_ ? 1 : 0,
              OneDnnMatMul(a, b, c(), Copies(DType::kBF16)));
  }

  // To be added first. A CPU may lower its clock for FMAs of memory operands
  // below that for FMAs of registers, which no kernel can then reach: the limit
  // is what registers alone do for a moment right after our f32.
  void AddLimit() {
    const std::string threads = ThreadsText(parallel_.num_threads());
    if (decode_) {
      static const auto* const buffer = new ReadBuffer();
      contenders_.push_back({absl::StrCat("read bandwidth, ", threads),
                             [this] { buffer->Read(parallel_); },
                             static_cast<double>(ReadBuffer::kBytes)});
      return;
    }
    constexpr size_t kSteps = kLongFmaSteps / 32;
    const PanelsView panels =
        weights_.PanelCopies(DType::kF32, 1, parallel_)[0];
    Contender limit = {absl::StrCat("FMA peak at its clock, ", threads),
                       [this] { DoFmas(parallel_, kSteps); },
                       DoFmas(parallel_, kSteps)};
    limit.before = [this, panels] {
      constexpr double kLong = 20e-3;
      const double start = SteadySeconds();
      while (SteadySeconds() - start < kLong) RunOurs(Strategy(), panels);
    };
    StayAwake(limit);
    contenders_.push_back(std::move(limit));
  }

  // The usual figure, beside the limit.
  void AddFmaPeak() {
    contenders_.push_back(
        {absl::StrCat("FMA peak alone, ", ThreadsText(parallel_.num_threads())),
         [this] { DoFmas(parallel_, kLongFmaSteps); },
         DoFmas(parallel_, kLongFmaSteps)});
  }

  void Run(benchmark::State& state) {
    PeerTable table;
    table.title =
        absl::StrCat("C = A B^T, A ", m_, " x ", weights_.shape().k, ", B ",
                     weights_.shape().n, " x ", weights_.shape().k);
    table.unit = decode_ ? "GB/s" : "GFLOP/s";
    table.has_limit = true;
    table.baseline = 1;
    RunPeers(state, table, std::move(contenders_));
  }

 private:
  // The peers'.
  Matrix<const float> a() const {
    return {a_f32_.data(), m_, weights_.shape().k};
  }
  Matrix<float> c() { return {c_f32_.data(), m_, weights_.shape().n}; }

  void RunOurs(Strategy strategy, const PanelsView& panels) {
    MatMulArgs args;
    args.a = {a_.data(), m_, weights_.shape().k};
    args.b = panels;
    args.c = {c_.data(), m_, weights_.shape().n};
    MatMul(strategy, args, parallel_);
  }

  double Flops() const {
    return 2 * static_cast<double>(c_.size()) *
           static_cast<double>(weights_.shape().k);
  }
  size_t Bytes(DType dtype) const {
    return weights_.shape().n * weights_.shape().k * DTypeSize(dtype);
  }
  size_t Copies(DType dtype) const {
    return decode_ ? ColdCopies(Bytes(dtype)) : 1;
  }

  // As our threads are in a decoder that is timed, and as the peers' are.
  void StayAwake(Contender& contender) {
    contender.hold = [this] {
      return std::make_shared<Parallel::Awake>(parallel_);
    };
  }

  void Add(std::string name, DType dtype, double share, Strategy bound,
           std::function<void()> call) {
    std::fill(c_.begin(), c_.end(), std::numeric_limits<double>::quiet_NaN());
    call();
    Judge(std::move(name), dtype, share, bound, std::move(call));
  }

  void AddPeer(std::string name, DType dtype, double share,
               std::function<void()> call) {
    std::fill(c_f32_.begin(), c_f32_.end(),
              std::numeric_limits<float>::quiet_NaN());
    call();
    std::copy(c_f32_.begin(), c_f32_.end(), c_.begin());
    Judge(std::move(name), dtype, share, Strategy(), std::move(call));
  }

  // By the results that a first call left in c_.
  void Judge(std::string name, DType dtype, double share, Strategy bound,
             std::function<void()> call) {
    const double worst =
        check_.WorstOverBound(bound, {c_.data(), m_, weights_.shape().n});
    const double work = decode_ ? static_cast<double>(Bytes(dtype)) : Flops();
    contenders_.push_back(
        Checked({std::move(name), std::move(call), work, share}, worst));
  }

  void AddOneDnn(const char* name, DType dtype, double share,
                 absl::StatusOr<OneDnnCall> made) {
    if (!made.ok()) {
      contenders_.push_back(Refused(name, made.status()));
      return;
    }
    AddPeer(absl::StrCat(name, " (", made->implementation, ")"), dtype, share,
            std::move(made->call));
  }

  Weights& weights_;
  const bool decode_;
  const size_t m_;
  Parallel parallel_;
  const hwy::AlignedVector<double> a_;
  const hwy::AlignedVector<float> a_f32_;
  std::vector<hwy::bfloat16_t> a_bf16_;
  hwy::AlignedVector<double> c_;
  hwy::AlignedVector<float> c_f32_;
  const MatMulCheck check_;
  std::vector<Contender> contenders_;
};

// Those that most files are of.
constexpr const char* kBlockTypes[] = {"Q8_0", "Q5_0", "Q4_0",   "Q6_K",
                                       "Q5_K", "Q4_K", "F8_E4M3"};

void BenchmarkSgemm(benchmark::State& state, const MatMulShape& shape, size_t m,
                    size_t threads) {
  MatMulCase contest(shape, m, threads, false);
  contest.AddLimit();
  contest.AddOurs("f32", DType::kF32);
  contest.AddOurs("f32", DType::kBF16);
  contest.AddOurs("kahan", DType::kBF16);
  contest.AddOurs("dot2", DType::kBF16);
  for (const char* type : kBlockTypes) contest.AddBlocks(type);
  contest.AddOpenBlas();
  contest.AddOneDnnF32();
  contest.AddOneDnnBf16();
  contest.AddBf16Hw();
  contest.AddFmaPeak();
  contest.Run(state);
}

void BenchmarkDecode(benchmark::State& state, const MatMulShape& shape,
                     size_t m, size_t threads) {
  MatMulCase contest(shape, m, threads, true);
  contest.AddLimit();
  contest.AddOurs("f32", DType::kBF16);
  contest.AddOurs("kahan", DType::kBF16);
  contest.AddOurs("dot2", DType::kBF16);
  contest.AddOurs("f64", DType::kBF16);
  contest.AddOurs("f32", DType::kF32);
  for (const char* type : kBlockTypes) contest.AddBlocks(type);
  contest.AddOpenBlas();
  contest.AddOneDnnBf16();
  contest.AddBf16Hw();
  contest.Run(state);
}

using Case = void (*)(benchmark::State&, const MatMulShape&, size_t, size_t);

void Register(const char* kind, Case run, const MatMulShape& shape, size_t m) {
  for (const size_t threads : ThreadCounts()) {
    benchmark::RegisterBenchmark(
        absl::StrCat(kind, "/", shape.name, "/M:", m, "/threads:", threads),
        [=](benchmark::State& state) { run(state, shape, m, threads); });
  }
}

}  // namespace

void RegisterPeerMatMuls() {
  for (const ModelShape& model : kModelShapes) {
    for (const MatMulShape& shape : MatMulShapes(model)) {
      if (shape.is_lm_head()) {
        for (const size_t m : {1, 4}) {
          Register("decode", &BenchmarkDecode, shape, m);
        }
      } else {
        for (const size_t m : {32, 128, 512}) {
          Register("sgemm", &BenchmarkSgemm, shape, m);
        }
      }
    }
  }
}

}  // namespace ulpscope
