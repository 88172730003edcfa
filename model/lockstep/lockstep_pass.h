#ifndef MODEL_LOCKSTEP_LOCKSTEP_PASS_H_
#define MODEL_LOCKSTEP_LOCKSTEP_PASS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/activations.h"
#include "model/decoder/layer_ops.h"
#include "model/lockstep/batch.h"
#include "model/lockstep/stream.h"
#include "model/lockstep/variant_parts.h"

namespace ulpscope {

// Logits that are held at once, where a stream has no more.
inline constexpr size_t kLogitRows = 96;

// A piece of a MatMul, after which the stop is asked for: these many products
// take the slowest strategy on one core well below a second.
inline constexpr double kPieceProducts = 5e8;
// Rows of a piece of ops that are no MatMul.
inline constexpr size_t kPieceRows = 4096;

// One pass over the weights, of some streams at once.
class LockstepPass {
 public:
  // The arguments must outlive the pass. `first_stream` is the index of
  // streams[0] among all. What is done is added to `work_done`, of `work`.
  LockstepPass(const Weights& weights, absl::Span<const Stream> streams,
               size_t first_stream, const LockstepOptions& options,
               size_t& work_done, size_t work, LockstepObserver& observer,
               Parallel& parallel)
      : weights_(weights),
        config_(weights.config),
        streams_(streams),
        first_stream_(first_stream),
        options_(options),
        work_done_(work_done),
        work_(work),
        observer_(observer),
        parallel_(parallel),
        hidden_size_(static_cast<size_t>(config_.hidden_size)),
        q_size_(static_cast<size_t>(config_.q_size())),
        kv_size_(static_cast<size_t>(config_.kv_size())),
        head_dim_(static_cast<size_t>(config_.head_dim)),
        variants_(streams),
        values_(streams.size()) {}

  // The streams are as RunLockstep wants them. Cancelled if stopped;
  // InvalidArgument for a given output of another shape.
  absl::Status Run();

 private:
  // What a stream has computed and still needs.
  struct Values {
    Rows stream, carry, normed, q, k, v, rope, attn, update, gate, up, act;
    // As the KV cache has them: the last kv_size columns.
    Rows kv_k, kv_v;
  };
  using Slot = Rows Values::*;

  void Start(size_t layer);
  void RunLayer(size_t layer);
  void Norm(size_t layer, Op op, Slot x, const std::vector<double>& weight,
            Slot y);
  void Multiply(Strategy strategy, const MatMulArgs& all);
  void MultiplyAs(Strategy strategy, const Variant& variant, MatMulArgs args);
  void Project(size_t layer, Op op, Slot x, const Panels& w,
               const std::vector<double>& bias, Slot y);
  std::vector<size_t> NormedHeads(size_t layer, QkNorm when) const;
  const RopeAngles& AnglesOf(const Variant& variant, int64_t position_offset,
                             const PositionsFrom& positions);
  void Rope(size_t layer);
  void NormRotated(size_t layer);
  void Store(size_t layer, Op op, Slot x, Slot y);
  void Attend(size_t layer);
  void Residual(size_t layer, Op op);
  void SwiGlu(size_t layer);
  void Head();

  // The streams of one task agree in what `also` says of them, too.
  std::vector<Task> TasksOf(
      size_t layer, const std::vector<Op>& ops, const std::vector<Slot>& inputs,
      absl::FunctionRef<size_t(size_t stream)> also = [](size_t) {
        return size_t{0};
      }) const;
  // False if stopped.
  bool Compute(std::vector<Task>& tasks, const std::vector<size_t>& cols,
               size_t piece_rows, PieceFn piece) {
    return !Stopped() &&
           ComputeTasks(
               tasks, cols, piece_rows, pool_, [this] { return Stopped(); },
               piece) &&
           !stopped_;
  }
  void Keep(std::vector<Task>& tasks, const std::vector<Slot>& outputs);
  // The op's output is the last `cols` columns of what the slot has; 0: all.
  void Show(size_t layer, Op op, Slot output, size_t cols = 0);
  void Give(size_t layer, Op op, Slot output, size_t cols = 0);
  void ShowAndGive(size_t layer, Op op, Slot output, size_t cols = 0) {
    Show(layer, op, output, cols);
    Give(layer, op, output, cols);
  }
  void ShowStates(size_t layer);
  std::vector<size_t> Indices(const std::vector<size_t>& streams) const;

  // Runs fn with these streams as the active ones.
  template <typename Fn>
  void For(std::vector<size_t> streams, const Fn& fn) {
    if (streams.empty()) return;
    std::swap(streams, active_);
    fn();
    std::swap(streams, active_);
  }
  // Why it has stopped.
  absl::Status Ended() const {
    return status_.ok() ? absl::CancelledError("stopped") : status_;
  }

  // Once stopped, it stays so, and nothing more is computed or shown.
  bool Stopped() {
    if (!stopped_) stopped_ = options_.stop && options_.stop();
    return stopped_;
  }
  void Release(const std::vector<Slot>& slots) {
    for (const size_t s : active_) {
      for (const Slot slot : slots) values_[s].*slot = Rows();
    }
  }

  const Weights& weights_;
  const ModelConfig& config_;
  const absl::Span<const Stream> streams_;
  const size_t first_stream_;
  const LockstepOptions& options_;
  size_t& work_done_;
  const size_t work_;
  LockstepObserver& observer_;
  Parallel& parallel_;
  const size_t hidden_size_, q_size_, kv_size_, head_dim_;
  const VariantParts variants_;
  std::map<RopeOptions, RopeAngles> angles_;
  bool stopped_ = false;
  absl::Status status_;
  RowsPool pool_;
  std::vector<Values> values_;
  std::vector<size_t> active_;  // the streams that run the layer, ascending
};

}  // namespace ulpscope

#endif  // MODEL_LOCKSTEP_LOCKSTEP_PASS_H_
