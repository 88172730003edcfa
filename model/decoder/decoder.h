#ifndef MODEL_DECODER_DECODER_H_
#define MODEL_DECODER_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/kv_cache.h"
#include "model/decoder/layer_ops.h"
#include "model/decoder/observer.h"

namespace ulpscope {

// Of which positions a forward pass computes logits.
enum class Logits { kNone, kLast, kAll };

// A decoder running one plan over one sequence. Activations are kept in f64,
// which holds every strategy's results exactly; each op rounds as its strategy
// says. The same plan and tokens give the same bits however the tokens are
// divided among calls and whatever `parallel` does.
class Decoder {
 public:
  // The arguments but the plan must outlive the decoder. `capacity` is the most
  // positions that it will hold.
  Decoder(const Weights& weights, const Plan& plan, size_t capacity,
          Parallel& parallel);

  // Runs the next tokens. An error, and no change, if a token is not in the
  // vocabulary, the capacity is exceeded, or there is no memory.
  absl::Status Forward(absl::Span<const int32_t> tokens, Logits logits,
                       Observer* observer = nullptr);

  // Asked before every layer of a Forward and before the logits: true ends it,
  // with Cancelled and no change. Null asks nothing.
  void set_stop(std::function<bool()> stop) { stop_ = std::move(stop); }

  // The number of positions so far.
  size_t position() const { return position_; }

  // Of the last Forward: a row of vocab_size for each position asked for.
  Matrix<const double> logits() const {
    return {logits_.data(), logits_rows_, vocab_size_};
  }

  // Forgets all positions.
  void Reset() { position_ = 0; }

 private:
  absl::Status Run(absl::Span<const int32_t> tokens, Logits logits);
  bool Stopped() const { return stop_ != nullptr && stop_(); }
  void Embed(absl::Span<const int32_t> tokens);
  void RunLayer(size_t layer);
  void Store(size_t layer, Op op, Matrix<double> rows);
  void Attend(size_t layer);
  void Head(Logits logits);
  void ForRows(absl::FunctionRef<void(size_t)> f);
  struct Projection;
  void Project(size_t layer, Matrix<const double> x,
               std::initializer_list<Projection> projections);
  void Norm(size_t layer, Op op, const NormInput& in,
            const std::vector<double>& weight, Matrix<double> y);
  void Residual(size_t layer, Op op);
  void Observe(size_t layer, Op op, Matrix<const double> rows) {
    if (observer_ != nullptr) observer_->OnOutput(layer, op, position_, rows);
  }

  const Weights& weights_;
  const ModelConfig& config_;
  Plan plan_;
  Parallel& parallel_;
  std::function<bool()> stop_;
  size_t hidden_size_, q_size_, kv_size_, head_dim_, vocab_size_;
  RopeAngles angles_;
  size_t capacity_;
  std::optional<KvCache> cache_;  // from the first Forward on
  size_t position_ = 0;
  Observer* observer_ = nullptr;  // during Forward

  // Of the call in progress, a row per token.
  size_t rows_ = 0;
  std::vector<double> stream_;  // [rows, hidden], the residual stream
  std::vector<double> carry_;   // its low-order part (kernels/ops/residual.h)
  std::vector<double> normed_;  // [rows, hidden]
  std::vector<double> qkv_;     // [rows, q_size + 2 kv_size]
  std::vector<double> attn_;    // [rows, q_size]
  std::vector<double> update_;  // [rows, hidden], to be added to the stream
  std::vector<double> gate_;    // [rows, intermediate]
  std::vector<double> up_;      // [rows, intermediate]
  std::vector<double> logits_;
  size_t logits_rows_ = 0;
};

}  // namespace ulpscope

#endif  // MODEL_DECODER_DECODER_H_
