#include "model/decoder.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"
#include "kernels/matrix.h"
#include "kernels/panels.h"
#include "kernels/parallel.h"
#include "kernels/residual.h"
#include "kernels/rmsnorm.h"
#include "kernels/softmax.h"
#include "kernels/strategy.h"
#include "model/config.h"
#include "model/observer.h"
#include "model/op.h"
#include "model/plan.h"
#include "model/weights.h"

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
      frequencies_(RopeFrequencies(config_)),
      cache_(config_, plan, capacity) {}

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
  if (tokens.size() > cache_.capacity() - position_) {
    return absl::ResourceExhaustedError(
        absl::StrCat(tokens.size(), " tokens after position ", position_,
                     " exceed the KV cache's capacity of ", cache_.capacity()));
  }
  rows_ = tokens.size();
  observer_ = observer;
  Embed(tokens);
  size_t layer = 1;
  for (; layer <= plan_.num_layers() && !Stopped(); ++layer) RunLayer(layer);
  const bool stopped = layer <= plan_.num_layers() || Stopped();
  if (!stopped) Head(logits);
  observer_ = nullptr;
  if (stopped) return absl::CancelledError("stopped");
  position_ += rows_;
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

  std::vector<double> row(hidden_size_);
  for (size_t r = 0; r < rows_; ++r) {
    weights_.embed.CopyRow(static_cast<size_t>(tokens[r]), row.data());
    RoundRow(plan_.Get(0, Op::kEmbed), row.data(), hidden_size_,
             stream_.data() + r * hidden_size_);
  }
  Observe(0, Op::kEmbed, {stream_.data(), rows_, hidden_size_});

  const size_t half = head_dim_ / 2;
  cos_.resize(rows_ * half);
  sin_.resize(rows_ * half);
  for (size_t r = 0; r < rows_; ++r) {
    for (size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position_ + r) * frequencies_[i];
      cos_[r * half + i] = std::cos(angle);
      sin_[r * half + i] = std::sin(angle);
    }
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
  const Matrix<double> normed(normed_.data(), rows_, hidden_size_);
  const Matrix<double> update(update_.data(), rows_, hidden_size_);
  const size_t qkv_size = q_size_ + 2 * kv_size_;
  const Matrix<double> q(qkv_.data(), rows_, q_size_, qkv_size);
  const Matrix<double> k(qkv_.data() + q_size_, rows_, kv_size_, qkv_size);
  const Matrix<double> v(k.data + kv_size_, rows_, kv_size_, qkv_size);

  Norm(layer, Op::kInputNorm, stream, w.input_norm, normed);
  Project(layer, normed,
          {{Op::kQProj, w.q_proj, w.q_bias, q},
           {Op::kKProj, w.k_proj, w.k_bias, k},
           {Op::kVProj, w.v_proj, w.v_bias, v}});
  if (config_.qk_norm) {
    Norm(layer, Op::kQNorm, q, w.q_norm, q);
    Norm(layer, Op::kKNorm, k, w.k_norm, k);
  }
  const size_t half = head_dim_ / 2;
  for (size_t r = 0; r < rows_; ++r) {
    const Matrix<double> heads(q.Row(r), (q_size_ + kv_size_) / head_dim_,
                               head_dim_);
    Rope(plan_.Get(layer, Op::kRope), cos_.data() + r * half,
         sin_.data() + r * half, heads);
  }
  Observe(layer, Op::kRope, {qkv_.data(), rows_, q_size_ + kv_size_, qkv_size});
  for (size_t r = 0; r < rows_; ++r) {
    cache_.Store(layer, position_ + r, k.Row(r), v.Row(r));
  }
  Attend(layer);
  const Matrix<double> attn(attn_.data(), rows_, q_size_);
  Observe(layer, Op::kAv, attn);
  Project(layer, attn, {{Op::kOProj, w.o_proj, w.o_bias, update}});
  Residual(layer, Op::kAttnResidual);

  const size_t intermediate = static_cast<size_t>(config_.intermediate_size);
  const Matrix<double> gate(gate_.data(), rows_, intermediate);
  const Matrix<double> up(up_.data(), rows_, intermediate);
  Norm(layer, Op::kPostNorm, stream, w.post_norm, normed);
  const std::vector<double> no_bias;
  Project(layer, normed,
          {{Op::kGateProj, w.gate_proj, no_bias, gate},
           {Op::kUpProj, w.up_proj, no_bias, up}});
  SwiGlu<double>(plan_.Get(layer, Op::kSwiGlu), gate, up, gate, parallel_);
  Observe(layer, Op::kSwiGlu, gate);
  Project(layer, gate, {{Op::kDownProj, w.down_proj, no_bias, update}});
  Residual(layer, Op::kMlpResidual);
}

// One position's attention, in three steps on the scores of the query heads
// that share a KV head: [heads in the group, positions so far].
struct Decoder::HeadGroup {
  size_t row;
  size_t kv_head;
  Matrix<double> scores;
};

void Decoder::Score(size_t layer, const HeadGroup& g) {
  const size_t first = g.kv_head * g.scores.rows * head_dim_;
  MatMulArgs<double> qk;
  qk.a = {qkv_.data() + g.row * (q_size_ + 2 * kv_size_) + first, g.scores.rows,
          head_dim_, head_dim_};
  qk.b = cache_.Keys(layer, g.kv_head, g.scores.cols);
  qk.scale = 1 / std::sqrt(static_cast<double>(head_dim_));
  qk.c = g.scores;
  Parallel serial;
  MatMul(plan_.Get(layer, Op::kQk), qk, serial);
}

void Decoder::Normalize(size_t layer, const HeadGroup& g) {
  Softmax<double>(plan_.Get(layer, Op::kSoftmax), g.scores, g.scores);
}

void Decoder::Weigh(size_t layer, const HeadGroup& g) {
  const size_t first = g.kv_head * g.scores.rows * head_dim_;
  MatMulArgs<double> av;
  av.a = g.scores;
  av.b = cache_.Values(layer, g.kv_head, g.scores.cols);
  av.c = {attn_.data() + g.row * q_size_ + first, g.scores.rows, head_dim_,
          head_dim_};
  Parallel serial;
  MatMul(plan_.Get(layer, Op::kAv), av, serial);
}

void Decoder::Attend(size_t layer) {
  const size_t kv_heads = kv_size_ / head_dim_;
  const size_t heads = q_size_ / head_dim_;
  const size_t group = heads / kv_heads;

  if (observer_ == nullptr) {
    parallel_.For(rows_ * kv_heads, [&](size_t task) {
      const size_t row = task / kv_heads;
      const size_t length = position_ + row + 1;
      thread_local std::vector<double> scores;
      scores.resize(group * length);
      const HeadGroup g = {
          row, task % kv_heads, {scores.data(), group, length}};
      Score(layer, g);
      Normalize(layer, g);
      Weigh(layer, g);
    });
    return;
  }
  // The same, one position at a time, so that all its heads can be shown.
  std::vector<double> scores;
  for (size_t row = 0; row < rows_; ++row) {
    const size_t length = position_ + row + 1;
    scores.resize(heads * length);
    const auto for_groups =
        [&](void (Decoder::*step)(size_t, const HeadGroup&)) {
          parallel_.For(kv_heads, [&](size_t h) {
            double* data = scores.data() + h * group * length;
            (this->*step)(layer, {row, h, {data, group, length}});
          });
        };
    const Matrix<const double> shown(scores.data(), heads, length);
    for_groups(&Decoder::Score);
    observer_->OnOutput(layer, Op::kQk, position_ + row, shown);
    for_groups(&Decoder::Normalize);
    observer_->OnOutput(layer, Op::kSoftmax, position_ + row, shown);
    for_groups(&Decoder::Weigh);
  }
}

void Decoder::Head(Logits logits) {
  const Matrix<double> stream(stream_.data(), rows_, hidden_size_);
  const Matrix<double> normed(normed_.data(), rows_, hidden_size_);
  Norm(0, Op::kFinalNorm, stream, weights_.final_norm, normed);
  logits_rows_ = logits == Logits::kNone   ? 0
                 : logits == Logits::kLast ? 1
                                           : rows_;
  logits_.resize(logits_rows_ * vocab_size_);
  if (logits_rows_ == 0) return;
  const Matrix<const double> last(normed.Row(rows_ - logits_rows_),
                                  logits_rows_, hidden_size_);
  const Matrix<double> out(logits_.data(), logits_rows_, vocab_size_);
  MatMulArgs<double> args;
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
  std::vector<MatMulArgs<double>> together;
  for (const Projection* p = projections.begin(); p != projections.end(); ++p) {
    MatMulArgs<double> args;
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
    MatMuls<double>(strategy, together, parallel_);
    together.clear();
  }
  for (const Projection& p : projections) Observe(layer, p.op, p.y);
}

// Normalizes each run of weight.size() values: rows, or heads within rows.
void Decoder::Norm(size_t layer, Op op, Matrix<const double> x,
                   const std::vector<double>& weight, Matrix<double> y) {
  const size_t width = weight.size();
  RmsNormArgs<double> args;
  args.weight = weight.data();
  args.eps = config_.rms_norm_eps;
  const Strategy strategy = plan_.Get(layer, op);
  if (width == x.cols) {
    args.x = x;
    args.y = y;
    RmsNorm(strategy, args, parallel_);
  } else {
    for (size_t r = 0; r < x.rows; ++r) {
      args.x = {x.Row(r), x.cols / width, width};
      args.y = {y.Row(r), x.cols / width, width};
      RmsNorm(strategy, args, parallel_);
    }
  }
  Observe(layer, op, y);
}

void Decoder::Residual(size_t layer, Op op) {
  AddResidual(plan_.Get(layer, op), update_.data(), rows_ * hidden_size_,
              stream_.data(), carry_.data());
  Observe(layer, op, {stream_.data(), rows_, hidden_size_});
}

}  // namespace ulpscope
