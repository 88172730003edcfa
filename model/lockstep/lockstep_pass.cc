#include "model/lockstep/lockstep_pass.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "hwy/base.h"
#include "kernels/base/dtype.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/engine_operands.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/residual.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/attention_form.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/activations.h"
#include "model/decoder/decoder.h"
#include "model/decoder/variant_ops.h"
#include "model/lockstep/batch.h"
#include "model/lockstep/stream.h"

namespace ulpscope {
namespace {

// Fewer rows do not make it worth bringing a weight from memory and widening
// it; with these, a piece is some of the columns. As many as MatMul widens a
// panel for.
constexpr size_t kLeastPieceRows = 96;

size_t PieceRows(const PanelsView& b) {
  const double products = static_cast<double>(b.n) * static_cast<double>(b.k);
  return std::max(kLeastPieceRows,
                  static_cast<size_t>(kPieceProducts / products));
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

// All of them if `cols` is 0.
Matrix<double> LastColumns(const Rows& rows, size_t cols) {
  const Matrix<double> all = rows.view();
  if (cols == 0) return all;
  return {all.data + all.cols - cols, all.rows, cols, all.stride};
}

}  // namespace

// A stream's task is that of an earlier stream which has the same strategies,
// form of attention, variant and inputs.
std::vector<Task> LockstepPass::TasksOf(
    size_t layer, const std::vector<Op>& ops, const std::vector<Slot>& inputs,
    absl::FunctionRef<size_t(size_t)> also) const {
  std::vector<Task> tasks;
  std::map<std::tuple<const Variant*, std::vector<size_t>, AttentionForm,
                      std::vector<const double*>, size_t>,
           size_t>
      known;
  for (const size_t s : active_) {
    Task task;
    task.variant = variants_.Of(s, layer, ops.front());
    if (ops.front() == Op::kQk && task.variant->mask.empty() &&
        task.variant->softmax == SoftmaxForm::kStandard) {
      task.attention = streams_[s].plan.attention(layer);
    }
    std::vector<size_t> strategies;
    std::vector<const double*> addresses;
    for (const Op op : ops) {
      task.strategies.push_back(streams_[s].plan.Get(layer, op));
      strategies.push_back(task.strategies.back().index());
    }
    for (const Slot slot : inputs) {
      task.inputs.push_back(values_[s].*slot);
      addresses.push_back(task.inputs.back().data());
    }
    const size_t at =
        known
            .emplace(
                std::make_tuple(task.variant, std::move(strategies),
                                task.attention, std::move(addresses), also(s)),
                tasks.size())
            .first->second;
    if (at == tasks.size()) tasks.push_back(std::move(task));
    tasks[at].streams.push_back(s);
  }
  return tasks;
}

// Gives the streams their tasks' outputs; those of equal bits become one.
void LockstepPass::Keep(std::vector<Task>& tasks,
                        const std::vector<Slot>& outputs) {
  for (size_t o = 0; o < outputs.size(); ++o) {
    UniteEqualOutputs(tasks, o, parallel_);
    for (const Task& task : tasks) {
      for (const size_t s : task.streams) {
        values_[s].*outputs[o] = task.outputs[o];
      }
    }
  }
}

std::vector<size_t> LockstepPass::Indices(
    const std::vector<size_t>& streams) const {
  std::vector<size_t> indices = streams;
  for (size_t& index : indices) index += first_stream_;
  return indices;
}

void LockstepPass::Show(size_t layer, Op op, Slot output, size_t cols) {
  if (!observer_.Wants(op)) return;
  for (const std::vector<size_t>& streams : Sharing(
           active_, [&](size_t s) { return (values_[s].*output).data(); })) {
    observer_.OnOutput(Indices(streams), layer, op, 0,
                       LastColumns(values_[streams.front()].*output, cols));
  }
}

// Replaces what the streams are given, which all under one GivenOutputs share.
void LockstepPass::Give(size_t layer, Op op, Slot output, size_t cols) {
  struct Given {
    Rows rows, no_carry;
  };
  std::map<const GivenOutputs*, Given> known;
  for (const size_t s : active_) {
    const GivenOutputs* const source = streams_[s].given;
    if (source == nullptr || stopped_) continue;
    const auto [at, first] = known.try_emplace(source);
    Given& given = at->second;
    if (first) given.rows = source->Get(layer, op);
    if (given.rows.rows() == 0) continue;
    const Matrix<double> got = given.rows.view();
    const Matrix<double> own = LastColumns(values_[s].*output, cols);
    if (got.rows != own.rows || got.cols != own.cols) {
      status_ = absl::InvalidArgumentError(absl::StrCat(
          "stream ", first_stream_ + s, ": the given output of layer ", layer,
          ", ", OpName(op), " is ", got.rows, " x ", got.cols, ", expected ",
          own.rows, " x ", own.cols));
      stopped_ = true;
      return;
    }
    values_[s].*output = given.rows;
    if (output != &Values::stream) continue;
    if (given.no_carry.rows() == 0) {
      given.no_carry = pool_.Allocate(own.rows, own.cols);
      std::fill_n(given.no_carry.data(), own.rows * own.cols, 0.0);
    }
    values_[s].carry = given.no_carry;
  }
}

void LockstepPass::ShowStates(size_t layer) {
  for (const std::vector<size_t>& streams : Sharing(active_, [&](size_t s) {
         return std::make_pair(values_[s].stream.data(),
                               values_[s].carry.data());
       })) {
    const Values& values = values_[streams.front()];
    observer_.OnState(Indices(streams), layer, values.stream.view(),
                      values.carry.view());
  }
}

// The input of the layer, of the streams that begin with it.
void LockstepPass::Start(size_t layer) {
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
    task.outputs = {pool_.Allocate(rows, hidden_size_),
                    pool_.Allocate(rows, hidden_size_)};
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
  Keep(tasks, {&Values::stream, &Values::carry});
  if (embedded.empty()) return;
  For(std::move(embedded), [&] {
    ShowAndGive(0, Op::kEmbed, &Values::stream);
    if (!stopped_) ShowStates(0);
  });
}

void LockstepPass::Norm(size_t layer, Op op, Slot x,
                        const std::vector<double>& weight, Slot y) {
  if (active_.empty()) return;
  // Streams that differ in what they carry share a norm unless one reads it.
  std::vector<Slot> inputs = {x};
  const bool reads_carry = absl::c_any_of(active_, [&](size_t s) {
    return streams_[s].plan.Get(layer, op).info().reads_carry;
  });
  if (x == &Values::stream && reads_carry) inputs.push_back(&Values::carry);
  std::vector<Task> tasks = TasksOf(layer, {op}, inputs);
  const bool done =
      Compute(tasks, {tasks.front().inputs.front().view().cols}, kPieceRows,
              [&](Strategy strategy, const Variant& variant, auto,
                  const auto& in, const auto& out) {
                if (variant.without_final_norm) {
                  for (size_t r = 0; r < in[0].rows; ++r) {
                    std::copy_n(in[0].Row(r), in[0].cols, out[0].Row(r));
                  }
                  return;
                }
                NormInput input = {in[0]};
                if (in.size() > 1) input.carry = in[1];
                VariantNorm(strategy, variant, input, weight,
                            config_.rms_norm_eps, out[0], parallel_);
              });
  if (!done) return;
  Keep(tasks, {y});
  ShowAndGive(layer, op, y);
}

// As a variant of an op of weights has it.
void LockstepPass::MultiplyAs(Strategy strategy, const Variant& variant,
                              MatMulArgs args) {
  if (variant.scales.empty()) {
    Multiply(strategy, args);
  } else if (const OpScale& scale = variant.scales.front(); scale.with_bias) {
    args.scale = scale.factor;
    Multiply(strategy, args);
  } else {
    const double* const bias = std::exchange(args.bias, nullptr);
    args.unrounded = true;
    Multiply(strategy, args);
    ScaleProduct(strategy, scale.factor, bias, args.c);
  }
  for (const auto* rows : {&variant.q_rows, &variant.k_rows}) {
    if (!rows->empty()) OrderColumns(*rows, args.c);
  }
}

// In pieces of some panels each. Once stopped, c is not finished.
void LockstepPass::Multiply(Strategy strategy, const MatMulArgs& all) {
  const double panel_products = static_cast<double>(all.a.rows) *
                                static_cast<double>(all.b.k * kPanelWidth);
  // Whole tiles of those engines that share scales among panels.
  const size_t panels = hwy::RoundUpTo(
      std::max<size_t>(1, static_cast<size_t>(kPieceProducts / panel_products)),
      kE4M3Block / kPanelWidth);
  const size_t panel_bytes = all.b.panel_bytes();
  for (size_t first = 0; first < all.b.n; first += panels * kPanelWidth) {
    if (first > 0 && Stopped()) return;
    const size_t cols = std::min(panels * kPanelWidth, all.b.n - first);
    MatMulArgs piece = all;
    piece.b.data = static_cast<const unsigned char*>(all.b.data) +
                   first / kPanelWidth * panel_bytes;
    piece.b.n = cols;
    if (all.bias != nullptr) piece.bias = all.bias + first;
    piece.c = {all.c.data + first, all.c.rows, cols, all.c.stride};
    MatMul(strategy, piece, parallel_);
  }
}

void LockstepPass::Project(size_t layer, Op op, Slot x, const Panels& w,
                           const std::vector<double>& bias, Slot y) {
  std::vector<Task> tasks = TasksOf(layer, {op}, {x});
  MatMulArgs args;
  args.b = w.view();
  const bool done = Compute(tasks, {args.b.n}, PieceRows(args.b),
                            [&](Strategy strategy, const Variant& variant, auto,
                                const auto& in, const auto& out) {
                              const bool biased =
                                  !bias.empty() && variant.without_bias.empty();
                              args.bias = biased ? bias.data() : nullptr;
                              args.a = in[0];
                              args.c = out[0];
                              MultiplyAs(strategy, variant, args);
                            });
  if (!done) return;
  Keep(tasks, {y});
  ShowAndGive(layer, op, y);
}

void LockstepPass::Residual(size_t layer, Op op) {
  std::vector<Task> tasks =
      TasksOf(layer, {op}, {&Values::stream, &Values::carry, &Values::update});
  const bool done =
      Compute(tasks, {hidden_size_, hidden_size_}, kPieceRows,
              [&](Strategy strategy, const Variant&, auto, const auto& in,
                  const auto& out) {
                parallel_.For(in[0].rows, [&](size_t r) {
                  std::copy_n(in[0].Row(r), hidden_size_, out[0].Row(r));
                  std::copy_n(in[1].Row(r), hidden_size_, out[1].Row(r));
                  AddResidual(strategy, in[2].Row(r), hidden_size_,
                              out[0].Row(r), out[1].Row(r));
                });
              });
  if (!done) return;
  Keep(tasks, {&Values::stream, &Values::carry});
  ShowAndGive(layer, op, &Values::stream);
}

void LockstepPass::SwiGlu(size_t layer) {
  std::vector<Task> tasks =
      TasksOf(layer, {Op::kSwiGlu}, {&Values::gate, &Values::up});
  const size_t width = static_cast<size_t>(config_.intermediate_size);
  const bool done = Compute(tasks, {width}, kPieceRows,
                            [&](Strategy strategy, const Variant& variant, auto,
                                const auto& in, const auto& out) {
                              VariantSwiGlu(strategy, variant, in[0], in[1],
                                            out[0], parallel_);
                            });
  if (!done) return;
  Keep(tasks, {&Values::act});
  ShowAndGive(layer, Op::kSwiGlu, &Values::act);
}

// Active streams whose heads are normed then.
std::vector<size_t> LockstepPass::NormedHeads(size_t layer, QkNorm when) const {
  std::vector<size_t> streams;
  if (!config_.qk_norm) return streams;
  for (const size_t s : active_) {
    if (variants_.Of(s, layer, Op::kQNorm)->qk_norm == when) {
      streams.push_back(s);
    }
  }
  return streams;
}

void LockstepPass::RunLayer(size_t layer) {
  const LayerWeights& w = weights_.layers[layer - 1];
  Norm(layer, Op::kInputNorm, &Values::stream, w.input_norm, &Values::normed);
  Project(layer, Op::kQProj, &Values::normed, w.q_proj, w.q_bias, &Values::q);
  Project(layer, Op::kKProj, &Values::normed, w.k_proj, w.k_bias, &Values::k);
  Project(layer, Op::kVProj, &Values::normed, w.v_proj, w.v_bias, &Values::v);
  Release({&Values::normed});
  For(NormedHeads(layer, QkNorm::kAsConfigured), [&] {
    Norm(layer, Op::kQNorm, &Values::q, w.q_norm, &Values::q);
    Norm(layer, Op::kKNorm, &Values::k, w.k_norm, &Values::k);
  });
  // What a program without them passes on in their place.
  For(NormedHeads(layer, QkNorm::kMissing), [&] {
    ShowAndGive(layer, Op::kQNorm, &Values::q);
    ShowAndGive(layer, Op::kKNorm, &Values::k);
  });
  Rope(layer);
  Release({&Values::q, &Values::k});
  For(NormedHeads(layer, QkNorm::kAfterRope), [&] { NormRotated(layer); });
  Store(layer, Op::kKvK, &Values::rope, &Values::kv_k);
  Store(layer, Op::kKvV, &Values::v, &Values::kv_v);
  Release({&Values::v});
  Attend(layer);
  Release({&Values::rope, &Values::kv_k, &Values::kv_v});
  Project(layer, Op::kOProj, &Values::attn, w.o_proj, w.o_bias,
          &Values::update);
  Release({&Values::attn});
  Residual(layer, Op::kAttnResidual);
  Norm(layer, Op::kPostNorm, &Values::stream, w.post_norm, &Values::normed);
  Project(layer, Op::kGateProj, &Values::normed, w.gate_proj, w.gate_bias,
          &Values::gate);
  Project(layer, Op::kUpProj, &Values::normed, w.up_proj, w.up_bias,
          &Values::up);
  Release({&Values::normed});
  SwiGlu(layer);
  Release({&Values::gate, &Values::up});
  Project(layer, Op::kDownProj, &Values::act, w.down_proj, w.down_bias,
          &Values::update);
  Release({&Values::act});
  Residual(layer, Op::kMlpResidual);
  Release({&Values::update});
}

// The final norm of all, then the logits of some streams at a time: they take
// more memory than all that came before.
void LockstepPass::Head() {
  Norm(0, Op::kFinalNorm, &Values::stream, weights_.final_norm,
       &Values::normed);
  if (stopped_ || options_.logits == Logits::kNone) return;
  pool_.Trim();  // logits are of another size, and take the memory
  const PanelsView shape = weights_.LmHead().view();
  MatMulArgs args;
  std::vector<Task> tasks = TasksOf(0, {Op::kLmHead}, {&Values::normed});
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
    const bool done = Compute(
        window, {shape.n}, PieceRows(shape),
        [&](Strategy strategy, const Variant& variant, auto, const auto& in,
            const auto& out) {
          args.b =
              (variant.head_is_embedding ? weights_.embed : weights_.LmHead())
                  .view();
          args.a = in[0];
          args.c = out[0];
          Multiply(strategy, args);
          VariantLogits(strategy, variant, out[0], parallel_);
        });
    if (!done) return;
    if (!observer_.Wants(Op::kLmHead)) continue;
    for (size_t t = 0; t < window.size(); ++t) {
      const size_t positions = values_[window[t].streams.front()].stream.rows();
      const Matrix<double> logits = window[t].outputs.front().view();
      observer_.OnOutput(Indices(window[t].streams), 0, Op::kLmHead,
                         positions - logits.rows, logits);
      // What an observer left undone because it was to stop does not count.
      if (Stopped()) return;
    }
  }
}

absl::Status LockstepPass::Run() {
  const size_t num_layers = weights_.layers.size();
  for (size_t layer = 1; layer <= num_layers; ++layer) {
    active_.clear();
    for (size_t s = 0; s < streams_.size(); ++s) {
      if (streams_[s].first_layer <= layer && layer <= streams_[s].last_layer) {
        active_.push_back(s);
      } else if (streams_[s].last_layer < layer) {
        values_[s] = Values();
      }
    }
    if (active_.empty()) continue;
    Start(layer);
    RunLayer(layer);
    if (stopped_) return Ended();
    ShowStates(layer);
    work_done_ += active_.size();
    if (options_.progress) options_.progress(work_done_, work_);
  }
  active_.clear();
  for (size_t s = 0; s < streams_.size(); ++s) {
    if (streams_[s].last_layer > num_layers) active_.push_back(s);
  }
  if (active_.empty()) return absl::OkStatus();
  Head();
  work_done_ += active_.size();
  if (options_.progress) options_.progress(work_done_, work_);
  return stopped_ ? Ended() : absl::OkStatus();
}

}  // namespace ulpscope
