#include "model/decoder/decoder.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/panels.h"
#include "kernels/ops/residual.h"
#include "kernels/ops/store_heads.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/attention.h"
#include "model/decoder/layer_ops.h"
#include "model/decoder/observer.h"

namespace ulpscope {

Decoder::Decoder(const Weights& weights, const Plan& plan, size_t capacity,
                 Parallel& parallel)
    : weights_(weights),
      config_(weights.config),
      plan_(plan),
      parallel_(parallel),
      hidden_size_(static_cast<size_t>(config_.hidden_size)),
      q_size_(static_cast<size_t>(config_.q_size())),
      kv_size_(static_cast<size_t>(config_.kv_size())),
      head_dim_(static_cast<size_t>(config_.head_dim)),
      vocab_size_(static_cast<size_t>(config_.vocab_size)),
      angles_(config_),
      capacity_(KvCache::CapacityFor(capacity)) {}

absl::Status Decoder::Forward(absl::Span<const int32_t> tokens, Logits logits,
                              Observer* observer) {
  if (tokens.empty()) return absl::InvalidArgumentError("no tokens to run");
  for (const int32_t token : tokens) {
    if (token < 0 || token >= config_.vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("token ", token, " is not in the vocabulary of ",
                       config_.vocab_size, " tokens"));
    }
  }
  if (tokens.size() > capacity_ - position_) {
    return absl::ResourceExhaustedError(
        absl::StrCat(tokens.size(), " tokens after position ", position_,
                     " exceed the KV cache's capacity of ", capacity_));
  }
  rows_ = tokens.size();
  observer_ = observer;
  absl::Status status;
  try {
    if (!cache_) cache_.emplace(config_, plan_, capacity_);
    status = Run(tokens, logits);
  } catch (const std::bad_alloc&) {
    status = absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", rows_, " tokens after position ",
                     position_, ": their activations and logits, or the KV ",
                     "cache of ", capacity_, " positions"));
  }
  observer_ = nullptr;
  if (status.ok()) position_ += rows_;
  return status;
}

absl::Status Decoder::Run(absl::Span<const int32_t> tokens, Logits logits) {
  Embed(tokens);
  size_t layer = 1;
  for (; layer <= plan_.num_layers() && !Stopped(); ++layer) RunLayer(layer);
  if (layer <= plan_.num_layers() || Stopped()) {
    return absl::CancelledError("stopped");
  }
  Head(logits);
  return absl::OkStatus();
}

void Decoder::Embed(absl::Span<const int32_t> tokens) {
  stream_.resize(rows_ * hidden_size_);
  carry_.assign(rows_ * hidden_size_, 0);
  normed_.resize(rows_ * hidden_size_);
  qkv_.resize(rows_ * (q_size_ + 2 * kv_size_));
  attn_.resize(rows_ * q_size_);
  update_.resize(rows_ * hidden_size_);
  const size_t intermediate = static_cast<size_t>(config_.intermediate_size);
  gate_.resize(rows_ * intermediate);
  up_.resize(rows_ * intermediate);

  ForRows([&](size_t r) {
    std::vector<double> row(hidden_size_);
    weights_.embed.CopyRow(static_cast<size_t>(tokens[r]), row.data());
    RoundRow(plan_.Get(0, Op::kEmbed), row.data(), hidden_size_,
             stream_.data() + r * hidden_size_);
  });
  Observe(0, Op::kEmbed, {stream_.data(), rows_, hidden_size_});

  angles_.Set(position_, rows_);
}

// A row alone is less work than it takes to wake a thread.
void Decoder::ForRows(absl::FunctionRef<void(size_t)> f) {
  if (rows_ == 1) {
    f(0);
  } else {
    parallel_.For(rows_, f);
  }
}

// y = x w^T + bias.
struct Decoder::Projection {
  Op op;
  const Panels& w;
  const std::vector<double>& bias;  // or empty
  Matrix<double> y;
};

void Decoder::RunLayer(size_t layer) {
  const LayerWeights& w = weights_.layers[layer - 1];
  const Matrix<double> stream(stream_.data(), rows_, hidden_size_);
  const Matrix<double> carry(carry_.data(), rows_, hidden_size_);
  const Matrix<double> normed(normed_.data(), rows_, hidden_size_);
  const Matrix<double> update(update_.data(), rows_, hidden_size_);
  const size_t qkv_size = q_size_ + 2 * kv_size_;
  const Matrix<double> q(qkv_.data(), rows_, q_size_, qkv_size);
  const Matrix<double> k(qkv_.data() + q_size_, rows_, kv_size_, qkv_size);
  const Matrix<double> v(k.data + kv_size_, rows_, kv_size_, qkv_size);

  Norm(layer, Op::kInputNorm, {stream, carry}, w.input_norm, normed);
  Project(layer, normed,
          {{Op::kQProj, w.q_proj, w.q_bias, q},
           {Op::kKProj, w.k_proj, w.k_bias, k},
           {Op::kVProj, w.v_proj, w.v_bias, v}});
  if (config_.qk_norm) {
    Norm(layer, Op::kQNorm, {q}, w.q_norm, q);
    Norm(layer, Op::kKNorm, {k}, w.k_norm, k);
  }
  ForRows([&](size_t r) {
    angles_.Rotate(plan_.Get(layer, Op::kRope), r,
                   {q.Row(r), (q_size_ + kv_size_) / head_dim_, head_dim_});
  });
  Observe(layer, Op::kRope, {qkv_.data(), rows_, q_size_ + kv_size_, qkv_size});
  Store(layer, Op::kKvK, k);
  Store(layer, Op::kKvV, v);
  ForRows([&](size_t r) {
    cache_->Store(layer, position_ + r, k.Row(r), v.Row(r));
  });
  Attend(layer);
  const Matrix<double> attn(attn_.data(), rows_, q_size_);
  Observe(layer, Op::kAv, attn);
  Project(layer, attn, {{Op::kOProj, w.o_proj, w.o_bias, update}});
  Residual(layer, Op::kAttnResidual);

  const size_t intermediate = static_cast<size_t>(config_.intermediate_size);
  const Matrix<double> gate(gate_.data(), rows_, intermediate);
  const Matrix<double> up(up_.data(), rows_, intermediate);
  Norm(layer, Op::kPostNorm, {stream, carry}, w.post_norm, normed);
  Project(layer, normed,
          {{Op::kGateProj, w.gate_proj, w.gate_bias, gate},
           {Op::kUpProj, w.up_proj, w.up_bias, up}});
  SwiGlu(plan_.Get(layer, Op::kSwiGlu), gate, up, gate, parallel_);
  Observe(layer, Op::kSwiGlu, gate);
  Project(layer, gate, {{Op::kDownProj, w.down_proj, w.down_bias, update}});
  Residual(layer, Op::kMlpResidual);
}

// Makes of keys or values what attention reads of them.
void Decoder::Store(size_t layer, Op op, Matrix<double> rows) {
  const Strategy strategy = plan_.Get(layer, op);
  if (!StoresAsComputed(strategy)) {
    ForRows([&](size_t r) {
      const Matrix<double> heads(rows.Row(r), rows.cols / head_dim_, head_dim_);
      StoreHeads(strategy, heads, heads);
    });
  }
  Observe(layer, op, rows);
}

void Decoder::Attend(size_t layer) {
  AttentionArgs args;
  args.q = {qkv_.data(), rows_, q_size_, q_size_ + 2 * kv_size_};
  args.cache = &*cache_;
  args.layer = layer;
  args.first_position = position_;
  args.kv_heads = kv_size_ / head_dim_;
  args.head_dim = head_dim_;
  args.qk = plan_.Get(layer, Op::kQk);
  args.softmax = plan_.Get(layer, Op::kSoftmax);
  args.av = plan_.Get(layer, Op::kAv);
  args.form = plan_.attention(layer);
  args.y = {attn_.data(), rows_, q_size_};
  if (observer_ == nullptr) {
    const size_t block = AttentionRows(args);
    parallel_.For((rows_ + block - 1) / block * args.kv_heads,
                  [&](size_t task) {
                    const size_t row = task / args.kv_heads * block;
                    AttendGroup(args, row, std::min(block, rows_ - row),
                                task % args.kv_heads);
                  });
    return;
  }
  AttendShowing(args, parallel_,
                [&](Op op, size_t position, Matrix<const double> scores) {
                  observer_->OnOutput(layer, op, position, scores);
                });
}

void Decoder::Head(Logits logits) {
  const Matrix<double> stream(stream_.data(), rows_, hidden_size_);
  const Matrix<double> carry(carry_.data(), rows_, hidden_size_);
  const Matrix<double> normed(normed_.data(), rows_, hidden_size_);
  Norm(0, Op::kFinalNorm, {stream, carry}, weights_.final_norm, normed);
  logits_rows_ = logits == Logits::kNone   ? 0
                 : logits == Logits::kLast ? 1
                                           : rows_;
  logits_.resize(logits_rows_ * vocab_size_);
  if (logits_rows_ == 0) return;
  const Matrix<const double> last(normed.Row(rows_ - logits_rows_),
                                  logits_rows_, hidden_size_);
  const Matrix<double> out(logits_.data(), logits_rows_, vocab_size_);
  MatMulArgs args;
  args.a = last;
  args.b = weights_.LmHead().view();
  args.c = out;
  MatMul(plan_.Get(0, Op::kLmHead), args, parallel_);
  if (observer_ != nullptr) {
    observer_->OnOutput(0, Op::kLmHead, position_ + rows_ - logits_rows_, out);
  }
}

// Neighbours under the same strategy are one parallel region.
void Decoder::Project(size_t layer, Matrix<const double> x,
                      std::initializer_list<Projection> projections) {
  std::vector<MatMulArgs> together;
  for (const Projection* p = projections.begin(); p != projections.end(); ++p) {
    MatMulArgs args;
    args.a = x;
    args.b = p->w.view();
    args.bias = p->bias.empty() ? nullptr : p->bias.data();
    args.c = p->y;
    together.push_back(args);
    const Strategy strategy = plan_.Get(layer, p->op);
    if (p + 1 != projections.end() &&
        plan_.Get(layer, (p + 1)->op) == strategy) {
      continue;
    }
    MatMuls(strategy, together, parallel_);
    together.clear();
  }
  for (const Projection& p : projections) Observe(layer, p.op, p.y);
}

void Decoder::Norm(size_t layer, Op op, const NormInput& in,
                   const std::vector<double>& weight, Matrix<double> y) {
  NormRows(plan_.Get(layer, op), in, weight, config_.rms_norm_eps, y,
           parallel_);
  Observe(layer, op, y);
}

void Decoder::Residual(size_t layer, Op op) {
  ForRows([&](size_t r) {
    const size_t at = r * hidden_size_;
    AddResidual(plan_.Get(layer, op), update_.data() + at, hidden_size_,
                stream_.data() + at, carry_.data() + at);
  });
  Observe(layer, op, {stream_.data(), rows_, hidden_size_});
}

}  // namespace ulpscope
