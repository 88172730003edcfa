#include "model/lockstep.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"
#include "kernels/matrix.h"
#include "kernels/panels.h"
#include "kernels/parallel.h"
#include "kernels/residual.h"
#include "kernels/strategy.h"
#include "model/activations.h"
#include "model/attention.h"
#include "model/config.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "model/layer_ops.h"
#include "model/op.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {
namespace {

// What a stream has computed and still needs.
struct Run {
  Rows stream, carry, normed, q, k, v, rope, attn, update, gate, up, act;
  Rows final_normed;
};
using Slot = Rows Run::*;

// What an op computes once, for all its streams.
struct Task {
  std::vector<Strategy> strategies;
  std::vector<Rows> inputs;
  std::vector<size_t> streams;  // indices into the pass's runs, ascending
  std::vector<Rows> outputs;
};

// The rows of some tasks' inputs, one after the other.
class RowList {
 public:
  RowList(const std::vector<Task*>& tasks, size_t input)
      : cols_(tasks.front()->inputs[input].view().cols) {
    for (const Task* task : tasks) {
      const Matrix<double> view = task->inputs[input].view();
      for (size_t r = 0; r < view.rows; ++r) rows_.push_back(view.Row(r));
    }
  }

  size_t cols() const { return cols_; }

  // Rows [first, first + count) as a matrix: where they lie, if that is one
  // after the other, or else a copy that lives until the next call.
  Matrix<const double> Gather(size_t first, size_t count) {
    size_t r = 1;
    while (r < count && rows_[first + r] == rows_[first] + r * cols_) ++r;
    if (r == count) return {rows_[first], count, cols_};
    copy_.resize(count * cols_);
    for (r = 0; r < count; ++r) {
      std::memcpy(copy_.data() + r * cols_, rows_[first + r],
                  cols_ * sizeof(double));
    }
    return {copy_.data(), count, cols_};
  }

 private:
  size_t cols_;
  std::vector<const double*> rows_;
  std::vector<double> copy_;
};

// Tasks under the same strategies, in order.
std::vector<std::vector<Task*>> Batches(std::vector<Task>& tasks) {
  std::vector<std::vector<Task*>> batches;
  std::map<std::vector<size_t>, size_t> of_strategies;
  for (Task& task : tasks) {
    std::vector<size_t> key;
    for (const Strategy s : task.strategies) key.push_back(s.index());
    const size_t batch =
        of_strategies.emplace(std::move(key), batches.size()).first->second;
    if (batch == batches.size()) batches.emplace_back();
    batches[batch].push_back(&task);
  }
  return batches;
}

// A piece of a MatMul, after which the stop is asked for: these many products
// take the slowest strategy on one core well below a second.
constexpr double kPieceProducts = 2e9;
// But not fewer rows than make a weight's way from memory worth it.
constexpr size_t kLeastPieceRows = 32;
// Of ops that are no MatMul.
constexpr size_t kPieceRows = 4096;
// Logits that are held at once, where streams have no more.
constexpr size_t kLogitRows = 64;

size_t PieceRows(const PanelsView& b) {
  const double products = static_cast<double>(b.n) * static_cast<double>(b.k);
  return std::max(kLeastPieceRows,
                  static_cast<size_t>(kPieceProducts / products));
}

// Bytes of activations per position of a stream, at most: what Run holds at
// once, an output that replaces another, and the keys and values of one layer,
// which are padded to panels apart from this.
double BytesPerRow(const ModelConfig& config) {
  const double hidden = static_cast<double>(config.hidden_size);
  const double qkv =
      static_cast<double>(config.q_size() + 2 * config.kv_size());
  const double mlp = static_cast<double>(config.intermediate_size);
  return sizeof(double) * (6 * hidden + std::max(4 * qkv, 3 * mlp));
}

double BytesOf(const ModelConfig& config, const Stream& stream) {
  const size_t rows = stream.tokens.size();
  const size_t padded = (rows + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
  return static_cast<double>(rows) * BytesPerRow(config) +
         static_cast<double>(padded) * 2 * sizeof(double) *
             static_cast<double>(config.kv_size());
}

// Some streams' pass over the weights.
class Pass {
 public:
  // `first_stream` is the index of streams[0] among all. Adds what is done to
  // `work_done`, of `work`.
  Pass(const Weights& weights, absl::Span<const Stream> streams,
       size_t first_stream, const LockstepOptions& options, size_t& work_done,
       size_t work, LockstepObserver& observer, Parallel& parallel)
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
        angles_(config_),
        runs_(streams.size()) {}

  // False if stopped.
  bool Execute();

 private:
  // Computes a piece of a batch: rows of all inputs and outputs, at these
  // positions of their streams.
  using PieceFn =
      absl::FunctionRef<void(Strategy, absl::Span<const size_t> positions,
                             const std::vector<Matrix<const double>>& inputs,
                             const std::vector<Matrix<double>>& outputs)>;

  void Start(size_t layer);
  void RunLayer(size_t layer);
  void Norm(size_t layer, Op op, Slot x, const std::vector<double>& weight,
            Slot y);
  void Project(size_t layer, Op op, Slot x, const Panels& w,
               const std::vector<double>& bias, Slot y);
  void Rope(size_t layer);
  void Attend(size_t layer);
  void Residual(size_t layer, Op op);
  void SwiGlu(size_t layer);
  void Head();

  std::vector<Task> TasksOf(size_t layer, const std::vector<Op>& ops,
                            const std::vector<Slot>& inputs) const;
  bool Compute(std::vector<Task>& tasks, const std::vector<size_t>& cols,
               size_t piece_rows, PieceFn piece);
  void Keep(std::vector<Task>& tasks, const std::vector<Slot>& outputs);
  void Show(size_t layer, Op op, Slot output);
  void ShowStates(size_t layer);
  std::vector<size_t> Indices(const std::vector<size_t>& streams) const;

  // Once stopped, it stays so, and nothing more is computed or shown.
  bool Stopped() {
    if (!stopped_) stopped_ = options_.stop && options_.stop();
    return stopped_;
  }
  void Release(const std::vector<Slot>& slots) {
    for (const size_t s : active_) {
      for (const Slot slot : slots) runs_[s].*slot = Rows();
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
  RopeAngles angles_;
  bool stopped_ = false;
  std::vector<Run> runs_;
  std::vector<size_t> active_;  // the streams that run the layer, ascending
};

// A stream's task is that of an earlier stream which has the same strategies
// and inputs.
std::vector<Task> Pass::TasksOf(size_t layer, const std::vector<Op>& ops,
                                const std::vector<Slot>& inputs) const {
  std::vector<Task> tasks;
  std::map<std::pair<std::vector<size_t>, std::vector<const double*>>, size_t>
      known;
  for (const size_t s : active_) {
    Task task;
    std::pair<std::vector<size_t>, std::vector<const double*>> key;
    for (const Op op : ops) {
      task.strategies.push_back(streams_[s].plan.Get(layer, op));
      key.first.push_back(task.strategies.back().index());
    }
    for (const Slot slot : inputs) {
      task.inputs.push_back(runs_[s].*slot);
      key.second.push_back(task.inputs.back().data());
    }
    const size_t at = known.emplace(std::move(key), tasks.size()).first->second;
    if (at == tasks.size()) tasks.push_back(std::move(task));
    tasks[at].streams.push_back(s);
  }
  return tasks;
}

// Fills the tasks' outputs, of `cols` columns each; false if stopped.
bool Pass::Compute(std::vector<Task>& tasks, const std::vector<size_t>& cols,
                   size_t piece_rows, PieceFn piece) {
  if (Stopped()) return false;
  for (const std::vector<Task*>& batch : Batches(tasks)) {
    std::vector<RowList> inputs;
    for (size_t i = 0; i < batch.front()->inputs.size(); ++i) {
      inputs.emplace_back(batch, i);
    }
    std::vector<size_t> positions;
    for (const Task* task : batch) {
      for (size_t r = 0; r < task->inputs.front().rows(); ++r) {
        positions.push_back(r);
      }
    }
    const size_t rows = positions.size();
    std::vector<Rows> blocks;
    for (const size_t c : cols) blocks.push_back(Rows::Allocate(rows, c));
    for (size_t first = 0; first < rows; first += piece_rows) {
      if (Stopped()) return false;
      const size_t count = std::min(piece_rows, rows - first);
      std::vector<Matrix<const double>> in;
      for (RowList& list : inputs) in.push_back(list.Gather(first, count));
      std::vector<Matrix<double>> out;
      for (const Rows& block : blocks) {
        out.push_back(block.Slice(first, count).view());
      }
      piece(batch.front()->strategies.front(),
            absl::MakeConstSpan(positions).subspan(first, count), in, out);
    }
    size_t row = 0;
    for (Task* task : batch) {
      const size_t count = task->inputs.front().rows();
      for (const Rows& block : blocks) {
        task->outputs.push_back(block.Slice(row, count));
      }
      row += count;
    }
  }
  return true;
}

// Gives the streams their tasks' outputs; those of equal bits become one.
void Pass::Keep(std::vector<Task>& tasks, const std::vector<Slot>& outputs) {
  for (size_t o = 0; o < outputs.size(); ++o) {
    std::vector<uint64_t> hashes(tasks.size());
    if (tasks.size() > 1) {
      parallel_.For(tasks.size(),
                    [&](size_t t) { hashes[t] = tasks[t].outputs[o].Hash(); });
    }
    std::unordered_multimap<uint64_t, Rows> known;
    for (size_t t = 0; t < tasks.size(); ++t) {
      Rows& rows = tasks[t].outputs[o];
      const auto [begin, end] = known.equal_range(hashes[t]);
      const auto same = std::find_if(
          begin, end, [&](const std::pair<const uint64_t, Rows>& item) {
            return item.second.SameBits(rows);
          });
      if (same == end) {
        known.emplace(hashes[t], rows);
      } else {
        rows = same->second;
      }
      for (const size_t s : tasks[t].streams) runs_[s].*outputs[o] = rows;
    }
  }
}

std::vector<size_t> Pass::Indices(const std::vector<size_t>& streams) const {
  std::vector<size_t> indices = streams;
  for (size_t& index : indices) index += first_stream_;
  return indices;
}

// Streams that share an output, in the order of their first ones. `output` says
// which a stream has.
template <typename OutputOf>
std::vector<std::vector<size_t>> Sharing(const std::vector<size_t>& streams,
                                         const OutputOf& output) {
  std::map<decltype(output(size_t{0})), size_t> known;
  std::vector<std::vector<size_t>> groups;
  for (const size_t s : streams) {
    const size_t at = known.emplace(output(s), groups.size()).first->second;
    if (at == groups.size()) groups.emplace_back();
    groups[at].push_back(s);
  }
  return groups;
}

void Pass::Show(size_t layer, Op op, Slot output) {
  if (!observer_.Wants(op)) return;
  for (const std::vector<size_t>& streams :
       Sharing(active_, [&](size_t s) { return (runs_[s].*output).data(); })) {
    observer_.OnOutput(Indices(streams), layer, op, 0,
                       (runs_[streams.front()].*output).view());
  }
}

void Pass::ShowStates(size_t layer) {
  for (const std::vector<size_t>& streams : Sharing(active_, [&](size_t s) {
         return std::make_pair(runs_[s].stream.data(), runs_[s].carry.data());
       })) {
    const Run& run = runs_[streams.front()];
    observer_.OnState(Indices(streams), layer, run.stream.view(),
                      run.carry.view());
  }
}

// The input of the layer, of the streams that begin with it.
void Pass::Start(size_t layer) {
  std::vector<Task> tasks;
  std::vector<size_t> embedded;
  std::map<std::tuple<const StreamState*, std::vector<int32_t>, size_t>, size_t>
      known;
  for (const size_t s : active_) {
    const Stream& stream = streams_[s];
    if (stream.first_layer != layer) continue;
    const size_t rows = stream.tokens.size();
    const Strategy strategy = stream.plan.Get(0, Op::kEmbed);
    std::vector<int32_t> tokens;
    if (stream.start == nullptr) {
      embedded.push_back(s);
      tokens.assign(stream.tokens.begin(), stream.tokens.end());
    }
    const size_t at =
        known
            .emplace(
                std::make_tuple(stream.start, std::move(tokens),
                                stream.start == nullptr ? strategy.index() : 0),
                tasks.size())
            .first->second;
    if (at < tasks.size()) {
      tasks[at].streams.push_back(s);
      continue;
    }
    tasks.emplace_back();
    Task& task = tasks.back();
    task.streams = {s};
    task.outputs = {Rows::Allocate(rows, hidden_size_),
                    Rows::Allocate(rows, hidden_size_)};
    const Matrix<double> x = task.outputs[0].view();
    double* const carry = task.outputs[1].data();
    std::fill_n(carry, rows * hidden_size_, 0.0);
    if (stream.start == nullptr) {
      for (size_t r = 0; r < rows; ++r) {
        weights_.embed.CopyRow(static_cast<size_t>(stream.tokens[r]), x.Row(r));
        RoundRow(strategy, x.Row(r), hidden_size_, x.Row(r));
      }
    } else {
      absl::c_copy(stream.start->stream, x.data);
      absl::c_copy(stream.start->carry, carry);
    }
  }
  Keep(tasks, {&Run::stream, &Run::carry});
  if (embedded.empty()) return;
  std::swap(embedded, active_);
  Show(0, Op::kEmbed, &Run::stream);
  ShowStates(0);
  std::swap(embedded, active_);
}

void Pass::Norm(size_t layer, Op op, Slot x, const std::vector<double>& weight,
                Slot y) {
  std::vector<Task> tasks = TasksOf(layer, {op}, {x});
  const bool done =
      Compute(tasks, {tasks.front().inputs.front().view().cols}, kPieceRows,
              [&](Strategy strategy, auto, const auto& in, const auto& out) {
                NormRows(strategy, in[0], weight, config_.rms_norm_eps, out[0],
                         parallel_);
              });
  if (!done) return;
  Keep(tasks, {y});
  Show(layer, op, y);
}

void Pass::Project(size_t layer, Op op, Slot x, const Panels& w,
                   const std::vector<double>& bias, Slot y) {
  std::vector<Task> tasks = TasksOf(layer, {op}, {x});
  MatMulArgs<double> args;
  args.b = w.view();
  args.bias = bias.empty() ? nullptr : bias.data();
  const bool done =
      Compute(tasks, {args.b.n}, PieceRows(args.b),
              [&](Strategy strategy, auto, const auto& in, const auto& out) {
                args.a = in[0];
                args.c = out[0];
                MatMul(strategy, args, parallel_);
              });
  if (!done) return;
  Keep(tasks, {y});
  Show(layer, op, y);
}

void Pass::Rope(size_t layer) {
  std::vector<Task> tasks = TasksOf(layer, {Op::kRope}, {&Run::q, &Run::k});
  const size_t heads = (q_size_ + kv_size_) / head_dim_;
  const bool done = Compute(
      tasks, {q_size_ + kv_size_}, kPieceRows,
      [&](Strategy strategy, absl::Span<const size_t> positions, const auto& in,
          const auto& out) {
        for (size_t r = 0; r < positions.size(); ++r) {
          double* const row = out[0].Row(r);
          std::copy_n(in[0].Row(r), q_size_, row);
          std::copy_n(in[1].Row(r), kv_size_, row + q_size_);
          angles_.Rotate(strategy, positions[r], {row, heads, head_dim_});
        }
      });
  if (!done) return;
  Keep(tasks, {&Run::rope});
  Show(layer, Op::kRope, &Run::rope);
}

// Keys and values of one layer and task. Their types are those of the task's
// first stream: what other streams share has the same bits, which both types
// hold.
KvCache CacheOf(const ModelConfig& config, const Plan& plan, size_t layer,
                const Task& task) {
  Plan one_layer(1);
  for (const Op op : {Op::kRope, Op::kVProj}) {
    one_layer.Set(1, op, plan.Get(layer, op));
  }
  const Matrix<double> rope = task.inputs[0].view();
  const Matrix<double> v = task.inputs[1].view();
  KvCache cache(config, one_layer, rope.rows);
  for (size_t r = 0; r < rope.rows; ++r) {
    cache.Store(1, r, rope.Row(r) + rope.cols - v.cols, v.Row(r));
  }
  return cache;
}

void Pass::Attend(size_t layer) {
  if (Stopped()) return;
  std::vector<Task> tasks =
      TasksOf(layer, {Op::kQk, Op::kSoftmax, Op::kAv}, {&Run::rope, &Run::v});
  const size_t kv_heads = kv_size_ / head_dim_;
  const bool showing =
      observer_.Wants(Op::kQk) || observer_.Wants(Op::kSoftmax);
  for (Task& task : tasks) {
    task.outputs = {Rows::Allocate(task.inputs[0].rows(), q_size_)};
  }
  // Some tasks at a time, so that their keys and values take little memory, and
  // some of their rows at a time.
  const size_t tasks_at_once = 8 * parallel_.num_threads();
  for (size_t begin = 0; begin < tasks.size(); begin += tasks_at_once) {
    const size_t count = std::min(tasks_at_once, tasks.size() - begin);
    std::vector<std::optional<KvCache>> caches(count);
    parallel_.For(count, [&](size_t i) {
      const Task& task = tasks[begin + i];
      caches[i] =
          CacheOf(config_, streams_[task.streams.front()].plan, layer, task);
    });
    struct Item {
      const AttentionArgs* args;
      size_t row;
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
      args[i].y = task.outputs[0].view();
      if (showing) {
        if (Stopped()) return;
        AttendShowing(args[i], parallel_,
                      [&](Op op, size_t position, Matrix<const double> scores) {
                        if (!observer_.Wants(op)) return;
                        observer_.OnOutput(Indices(task.streams), layer, op,
                                           position, scores);
                      });
        continue;
      }
      for (size_t r = 0; r < rope.rows; ++r) items.push_back({&args[i], r});
    }
    const auto products = [&](const Item& item) {
      return 2.0 * static_cast<double>(q_size_) *
             static_cast<double>(item.row + 1);
    };
    for (size_t first = 0; first < items.size();) {
      if (Stopped()) return;
      size_t end = first;
      for (double sum = 0; end < items.size() && sum < kPieceProducts; ++end) {
        sum += products(items[end]);
      }
      parallel_.For((end - first) * kv_heads, [&](size_t i) {
        const Item& item = items[first + i / kv_heads];
        AttendGroup(*item.args, item.row, i % kv_heads);
      });
      first = end;
    }
  }
  Keep(tasks, {&Run::attn});
  Show(layer, Op::kAv, &Run::attn);
}

void Pass::Residual(size_t layer, Op op) {
  std::vector<Task> tasks =
      TasksOf(layer, {op}, {&Run::stream, &Run::carry, &Run::update});
  const bool done =
      Compute(tasks, {hidden_size_, hidden_size_}, kPieceRows,
              [&](Strategy strategy, auto, const auto& in, const auto& out) {
                parallel_.For(in[0].rows, [&](size_t r) {
                  std::copy_n(in[0].Row(r), hidden_size_, out[0].Row(r));
                  std::copy_n(in[1].Row(r), hidden_size_, out[1].Row(r));
                  AddResidual(strategy, in[2].Row(r), hidden_size_,
                              out[0].Row(r), out[1].Row(r));
                });
              });
  if (!done) return;
  Keep(tasks, {&Run::stream, &Run::carry});
  Show(layer, op, &Run::stream);
}

void Pass::SwiGlu(size_t layer) {
  std::vector<Task> tasks =
      TasksOf(layer, {Op::kSwiGlu}, {&Run::gate, &Run::up});
  const size_t width = static_cast<size_t>(config_.intermediate_size);
  const bool done = Compute(
      tasks, {width}, kPieceRows,
      [&](Strategy strategy, auto, const auto& in, const auto& out) {
        ulpscope::SwiGlu<double>(strategy, in[0], in[1], out[0], parallel_);
      });
  if (!done) return;
  Keep(tasks, {&Run::act});
  Show(layer, Op::kSwiGlu, &Run::act);
}

void Pass::RunLayer(size_t layer) {
  const LayerWeights& w = weights_.layers[layer - 1];
  const std::vector<double> no_bias;
  Norm(layer, Op::kInputNorm, &Run::stream, w.input_norm, &Run::normed);
  Project(layer, Op::kQProj, &Run::normed, w.q_proj, w.q_bias, &Run::q);
  Project(layer, Op::kKProj, &Run::normed, w.k_proj, w.k_bias, &Run::k);
  Project(layer, Op::kVProj, &Run::normed, w.v_proj, w.v_bias, &Run::v);
  Release({&Run::normed});
  if (config_.qk_norm) {
    Norm(layer, Op::kQNorm, &Run::q, w.q_norm, &Run::q);
    Norm(layer, Op::kKNorm, &Run::k, w.k_norm, &Run::k);
  }
  Rope(layer);
  Release({&Run::q, &Run::k});
  Attend(layer);
  Release({&Run::rope, &Run::v});
  Project(layer, Op::kOProj, &Run::attn, w.o_proj, w.o_bias, &Run::update);
  Release({&Run::attn});
  Residual(layer, Op::kAttnResidual);
  Norm(layer, Op::kPostNorm, &Run::stream, w.post_norm, &Run::normed);
  Project(layer, Op::kGateProj, &Run::normed, w.gate_proj, no_bias, &Run::gate);
  Project(layer, Op::kUpProj, &Run::normed, w.up_proj, no_bias, &Run::up);
  Release({&Run::normed});
  SwiGlu(layer);
  Release({&Run::gate, &Run::up});
  Project(layer, Op::kDownProj, &Run::act, w.down_proj, no_bias, &Run::update);
  Release({&Run::act});
  Residual(layer, Op::kMlpResidual);
  Release({&Run::update});
}

// The final norm of all, then the logits of some streams at a time: they take
// more memory than all that came before.
void Pass::Head() {
  Norm(0, Op::kFinalNorm, &Run::stream, weights_.final_norm, &Run::normed);
  if (stopped_ || options_.logits == Logits::kNone) return;
  MatMulArgs<double> args;
  args.b = weights_.LmHead().view();
  std::vector<Task> tasks = TasksOf(0, {Op::kLmHead}, {&Run::normed});
  if (options_.logits == Logits::kLast) {
    for (Task& task : tasks) {
      Rows& rows = task.inputs.front();
      rows = rows.Slice(rows.rows() - 1, 1);
    }
  }
  for (size_t first = 0; first < tasks.size();) {
    std::vector<Task> window;
    for (size_t rows = 0; first < tasks.size() && rows < kLogitRows; ++first) {
      rows += tasks[first].inputs.front().rows();
      window.push_back(tasks[first]);
    }
    const bool done =
        Compute(window, {args.b.n}, PieceRows(args.b),
                [&](Strategy strategy, auto, const auto& in, const auto& out) {
                  args.a = in[0];
                  args.c = out[0];
                  MatMul(strategy, args, parallel_);
                });
    if (!done) return;
    if (!observer_.Wants(Op::kLmHead)) continue;
    for (size_t t = 0; t < window.size(); ++t) {
      const size_t positions = runs_[window[t].streams.front()].stream.rows();
      const Matrix<double> logits = window[t].outputs.front().view();
      observer_.OnOutput(Indices(window[t].streams), 0, Op::kLmHead,
                         positions - logits.rows, logits);
    }
  }
}

bool Pass::Execute() {
  const size_t num_layers = weights_.layers.size();
  size_t positions = 0;
  for (const Stream& stream : streams_) {
    positions = std::max(positions, stream.tokens.size());
  }
  angles_.Set(0, positions);
  for (size_t layer = 1; layer <= num_layers; ++layer) {
    active_.clear();
    for (size_t s = 0; s < streams_.size(); ++s) {
      if (streams_[s].first_layer <= layer && layer <= streams_[s].last_layer) {
        active_.push_back(s);
      } else if (streams_[s].last_layer < layer) {
        runs_[s] = Run();
      }
    }
    if (active_.empty()) continue;
    Start(layer);
    RunLayer(layer);
    if (stopped_) return false;
    ShowStates(layer);
    work_done_ += active_.size();
    if (options_.progress) options_.progress(work_done_, work_);
  }
  active_.clear();
  for (size_t s = 0; s < streams_.size(); ++s) {
    if (streams_[s].last_layer > num_layers) active_.push_back(s);
  }
  if (active_.empty()) return true;
  Head();
  work_done_ += active_.size();
  if (options_.progress) options_.progress(work_done_, work_);
  return !stopped_;
}

absl::Status Check(const Weights& weights, const Stream& stream, size_t index) {
  const auto error = [index](const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("stream ", index, ": ", what...));
  };
  const size_t num_layers = weights.layers.size();
  if (stream.tokens.empty()) return error("no tokens to run");
  for (const int32_t token : stream.tokens) {
    if (token < 0 || token >= weights.config.vocab_size) {
      return error("token ", token, " is not in the vocabulary of ",
                   weights.config.vocab_size, " tokens");
    }
  }
  if (stream.plan.num_layers() != num_layers) {
    return error("a plan for ", stream.plan.num_layers(),
                 " layers, but the model has ", num_layers);
  }
  if (stream.first_layer < 1 || stream.first_layer > num_layers ||
      stream.last_layer < stream.first_layer) {
    return error("layers ", stream.first_layer, " to ", stream.last_layer,
                 " of ", num_layers);
  }
  if (stream.start == nullptr) {
    if (stream.first_layer > 1) {
      return error("no input of layer ", stream.first_layer);
    }
    return absl::OkStatus();
  }
  const size_t size =
      stream.tokens.size() * static_cast<size_t>(weights.config.hidden_size);
  for (const std::vector<double>* values :
       {&stream.start->stream, &stream.start->carry}) {
    if (values->size() != size &&
        !(values == &stream.start->carry && values->empty())) {
      return error("the input has ", values->size(), " values, expected ",
                   stream.tokens.size(), " positions x hidden_size ",
                   weights.config.hidden_size);
    }
  }
  return absl::OkStatus();
}

size_t WorkOf(const Stream& stream, size_t num_layers) {
  return std::min(stream.last_layer, num_layers + 1) - stream.first_layer + 1;
}

}  // namespace

absl::Status RunLockstep(const Weights& weights,
                         absl::Span<const Stream> streams,
                         const LockstepOptions& options,
                         LockstepObserver& observer, Parallel& parallel) {
  size_t work = 0;
  for (size_t s = 0; s < streams.size(); ++s) {
    const absl::Status status = Check(weights, streams[s], s);
    if (!status.ok()) return status;
    work += WorkOf(streams[s], weights.layers.size());
  }
  size_t work_done = 0;
  for (size_t first = 0; first < streams.size();) {
    size_t count = 0;
    double bytes = 0;
    do {
      bytes += BytesOf(weights.config, streams[first + count]);
      ++count;
    } while (first + count < streams.size() &&
             bytes + BytesOf(weights.config, streams[first + count]) <=
                 static_cast<double>(options.memory));
    Pass pass(weights, streams.subspan(first, count), first, options, work_done,
              work, observer, parallel);
    if (!pass.Execute()) return absl::CancelledError("stopped");
    first += count;
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
