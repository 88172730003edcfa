#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/store_heads.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/activations.h"
#include "model/decoder/attention.h"
#include "model/decoder/kv_cache.h"
#include "model/decoder/layer_ops.h"
#include "model/decoder/variant_ops.h"
#include "model/lockstep/batch.h"
#include "model/lockstep/lockstep.h"
#include "model/lockstep/lockstep_pass.h"

namespace ulpscope {
namespace {

// Whether the strategy leaves the last `cols` columns as they are, which are
// heads of keys or values.
bool Holds(Strategy strategy, Matrix<const double> x, size_t cols,
           size_t head_dim) {
  std::vector<double> stored(cols);
  for (size_t r = 0; r < x.rows; ++r) {
    const double* const row = x.Row(r) + x.cols - cols;
    StoreHeads(strategy, {row, cols / head_dim, head_dim},
               Matrix<double>(stored.data(), cols / head_dim, head_dim));
    if (std::memcmp(stored.data(), row, cols * sizeof(double)) != 0) {
      return false;
    }
  }
  return true;
}

// Keys and values of one layer and task. Their types are those of the task's
// first stream: what other streams share has the same bits, which both types
// hold. Given ones may be of any format, so they are kept in f64, unless they
// are what the plan stores in 16 bits.
KvCache CacheOf(const ModelConfig& config, const Stream& stream, size_t layer,
                const Task& task) {
  const Matrix<double> k = task.inputs[1].view();
  const Matrix<double> v = task.inputs[2].view();
  const size_t kv_size = static_cast<size_t>(config.kv_size());
  const size_t head_dim = static_cast<size_t>(config.head_dim);
  Plan one_layer = Plan::Oracle(1);
  const bool normed_last =
      config.qk_norm && task.variant->qk_norm == QkNorm::kAfterRope;
  const Op last_of_keys = normed_last ? Op::kKNorm : Op::kRope;
  if (stream.given == nullptr) {
    one_layer.Set(1, Op::kRope, stream.plan.Get(layer, last_of_keys));
    one_layer.Set(1, Op::kVProj, stream.plan.Get(layer, Op::kVProj));
  }
  for (const Op op : {Op::kKvK, Op::kKvV}) {
    const Strategy strategy = stream.plan.Get(layer, op);
    if (stream.given == nullptr ||
        (Has16Bits(strategy.info().stored()) &&
         Holds(strategy, op == Op::kKvK ? k : v, kv_size, head_dim))) {
      one_layer.Set(1, op, strategy);
    }
  }
  KvCache cache(config, one_layer, k.rows);
  for (size_t r = 0; r < k.rows; ++r) {
    cache.Store(1, r, k.Row(r) + k.cols - kv_size, v.Row(r) + v.cols - kv_size);
  }
  return cache;
}

// Whether the last columns of x have the bits of y.
bool HasLastColumns(Matrix<const double> x, Matrix<const double> y) {
  for (size_t r = 0; r < y.rows; ++r) {
    if (std::memcmp(x.Row(r) + x.cols - y.cols, y.Row(r),
                    y.cols * sizeof(double)) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

// Of all positions of a pass, computed when first needed.
const RopeAngles& LockstepPass::AnglesOf(const Variant& variant,
                                         int64_t position_offset,
                                         const PositionsFrom& positions) {
  const RopeOptions options = {variant.rope_theta,
                               variant.rope_rounding,
                               position_offset,
                               variant.rope_angles_f32,
                               positions,
                               variant.without_rope_scaling,
                               variant.without_rope_attention_factor};
  const auto [at, first] = angles_.try_emplace(options, config_, options);
  if (first) {
    size_t most = 0;
    for (const Stream& stream : streams_) {
      most = std::max(most, stream.tokens.size());
    }
    at->second.Set(0, most);
  }
  return at->second;
}

void LockstepPass::Rope(size_t layer) {
  std::vector<Task> tasks =
      TasksOf(layer, {Op::kRope}, {&Values::q, &Values::k});
  const size_t q_heads = q_size_ / head_dim_;
  const size_t kv_heads = kv_size_ / head_dim_;
  const bool done = Compute(
      tasks, {q_size_ + kv_size_}, kPieceRows,
      [&](Strategy strategy, const Variant& variant,
          absl::Span<const size_t> positions, const auto& in, const auto& out) {
        const RopeAngles& of_q =
            AnglesOf(variant, variant.q_position_offset, variant.q_positions);
        const RopeAngles& of_k =
            AnglesOf(variant, variant.k_position_offset, variant.k_positions);
        for (size_t r = 0; r < positions.size(); ++r) {
          double* const row = out[0].Row(r);
          double* const k = row + q_size_;
          std::copy_n(in[0].Row(r), q_size_, row);
          std::copy_n(in[1].Row(r), kv_size_, k);
          const auto rotate = [&](const RopeAngles& angles,
                                  Matrix<double> heads) {
            VariantRotate(strategy, variant, angles, positions[r], heads);
          };
          if (&of_q == &of_k) {
            rotate(of_q, {row, q_heads + kv_heads, head_dim_});
          } else {
            rotate(of_q, {row, q_heads, head_dim_});
            rotate(of_k, {k, kv_heads, head_dim_});
          }
        }
      });
  if (!done) return;
  Keep(tasks, {&Values::rope});
  ShowAndGive(layer, Op::kRope, &Values::rope);
}

// q_norm and k_norm of what RoPE has made, of which attention is computed then.
void LockstepPass::NormRotated(size_t layer) {
  std::vector<Task> tasks = TasksOf(layer, {Op::kRope}, {&Values::rope});
  const bool split = Compute(
      tasks, {q_size_, kv_size_}, kPieceRows,
      [&](Strategy, const Variant&, auto, const auto& in, const auto& out) {
        for (size_t r = 0; r < in[0].rows; ++r) {
          std::copy_n(in[0].Row(r), q_size_, out[0].Row(r));
          std::copy_n(in[0].Row(r) + q_size_, kv_size_, out[1].Row(r));
        }
      });
  if (!split) return;
  Keep(tasks, {&Values::q, &Values::k});
  tasks.clear();
  Release({&Values::rope});
  const LayerWeights& w = weights_.layers[layer - 1];
  Norm(layer, Op::kQNorm, &Values::q, w.q_norm, &Values::q);
  Norm(layer, Op::kKNorm, &Values::k, w.k_norm, &Values::k);
  tasks = TasksOf(layer, {Op::kRope}, {&Values::q, &Values::k});
  const bool joined = Compute(
      tasks, {q_size_ + kv_size_}, kPieceRows,
      [&](Strategy, const Variant&, auto, const auto& in, const auto& out) {
        for (size_t r = 0; r < in[0].rows; ++r) {
          std::copy_n(in[0].Row(r), q_size_, out[0].Row(r));
          std::copy_n(in[1].Row(r), kv_size_, out[0].Row(r) + q_size_);
        }
      });
  if (!joined) return;
  Keep(tasks, {&Values::rope});
  Release({&Values::q, &Values::k});
}

// What is stored as it was computed stays where it is: keys are the last
// columns of what RoPE has made.
void LockstepPass::Store(size_t layer, Op op, Slot x, Slot y) {
  if (Stopped()) return;
  std::vector<size_t> rounded;
  for (const size_t s : active_) {
    values_[s].*y = values_[s].*x;
    if (!StoresAsComputed(streams_[s].plan.Get(layer, op)))
      rounded.push_back(s);
  }
  For(std::move(rounded), [&] {
    std::vector<Task> tasks = TasksOf(layer, {op}, {x});
    const bool done = Compute(
        tasks, {kv_size_}, kPieceRows,
        [&](Strategy strategy, const Variant&, auto, const auto& in,
            const auto& out) {
          const size_t heads = kv_size_ / head_dim_;
          parallel_.For(in[0].rows, [&](size_t r) {
            const double* const row = in[0].Row(r) + in[0].cols - kv_size_;
            StoreHeads(strategy, {row, heads, head_dim_},
                       Matrix<double>(out[0].Row(r), heads, head_dim_));
          });
        });
    if (!done) return;
    // What it leaves as it is goes on as with those who do not round.
    for (Task& task : tasks) {
      if (HasLastColumns(task.inputs[0].view(), task.outputs[0].view())) {
        task.outputs[0] = task.inputs[0];
      }
    }
    Keep(tasks, {y});
  });
  ShowAndGive(layer, op, y, kv_size_);
}

void LockstepPass::Attend(size_t layer) {
  if (Stopped()) return;
  // Keys and values of 16 bits are another operand than the same numbers in
  // 32: engines round the other operand by it.
  const auto types = [&](size_t s) {
    const auto type = [&](Op op) -> size_t {
      const Format format = streams_[s].plan.Get(layer, op).info().stored();
      return Has16Bits(format) ? 1 + static_cast<size_t>(format) : 0;
    };
    return type(Op::kKvK) * 16 + type(Op::kKvV);
  };
  std::vector<Task> tasks =
      TasksOf(layer, {Op::kQk, Op::kSoftmax, Op::kAv},
              {&Values::rope, &Values::kv_k, &Values::kv_v}, types);
  const size_t kv_heads = kv_size_ / head_dim_;
  const bool showing =
      observer_.Wants(Op::kQk) || observer_.Wants(Op::kSoftmax);
  for (Task& task : tasks) {
    task.outputs = {pool_.Allocate(task.inputs[0].rows(), q_size_)};
  }
  // Some tasks at a time, so that their keys and values take little memory, and
  // some of their rows at a time.
  const size_t tasks_at_once = 8 * parallel_.num_threads();
  for (size_t begin = 0; begin < tasks.size(); begin += tasks_at_once) {
    const size_t count = std::min(tasks_at_once, tasks.size() - begin);
    std::vector<std::optional<KvCache>> caches(count);
    parallel_.For(count, [&](size_t i) {
      const Task& task = tasks[begin + i];
      caches[i] = CacheOf(config_, streams_[task.streams.front()], layer, task);
    });
    struct Item {
      const AttentionArgs* args;
      size_t row, rows;
    };
    std::vector<AttentionArgs> args(count);
    std::vector<Item> items;
    for (size_t i = 0; i < count; ++i) {
      const Task& task = tasks[begin + i];
      const Matrix<double> rope = task.inputs[0].view();
      args[i].q = {rope.data, rope.rows, q_size_, rope.stride};
      args[i].cache = &*caches[i];
      args[i].layer = 1;
      args[i].kv_heads = kv_heads;
      args[i].head_dim = head_dim_;
      args[i].qk = task.strategies[0];
      args[i].softmax = task.strategies[1];
      args[i].av = task.strategies[2];
      args[i].form = task.attention;
      args[i].order = task.variant->kv_heads;
      args[i].scale = task.variant->attention_scale;
      args[i].all_positions = task.variant->causal ? 0 : rope.rows;
      args[i].mask = task.variant->mask;
      args[i].positions = rope.rows;
      args[i].softmax_form = task.variant->softmax;
      args[i].y = task.outputs[0].view();
      if (showing) {
        const auto show = [&](Op op, size_t position,
                              Matrix<const double> scores) {
          if (!observer_.Wants(op)) return;
          observer_.OnOutput(Indices(task.streams), layer, op, position,
                             scores);
        };
        AttentionArgs row = args[i];
        for (size_t r = 0; r < rope.rows; ++r) {
          if (Stopped()) return;
          row.first_position = r;
          row.q = {rope.Row(r), 1, q_size_};
          row.y = {args[i].y.Row(r), 1, q_size_};
          AttendShowing(row, parallel_, show);
        }
        continue;
      }
      const size_t block = AttentionRows(args[i]);
      for (size_t r = 0; r < rope.rows; r += block) {
        items.push_back({&args[i], r, std::min(block, rope.rows - r)});
      }
    }
    const auto products = [&](const Item& item) {
      const size_t length =
          std::max(item.args->all_positions, item.row + item.rows);
      return 2.0 * static_cast<double>(q_size_ * item.rows) *
             static_cast<double>(length);
    };
    for (size_t first = 0; first < items.size();) {
      if (Stopped()) return;
      size_t end = first;
      for (double sum = 0; end < items.size() && sum < kPieceProducts; ++end) {
        sum += products(items[end]);
      }
      parallel_.For((end - first) * kv_heads, [&](size_t i) {
        const Item& item = items[first + i / kv_heads];
        AttendGroup(*item.args, item.row, item.rows, i % kv_heads);
      });
      first = end;
    }
  }
  Keep(tasks, {&Values::attn});
  ShowAndGive(layer, Op::kAv, &Values::attn);
}

}  // namespace ulpscope
