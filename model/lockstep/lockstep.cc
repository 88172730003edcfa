#include "model/lockstep/lockstep.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "kernels/base/parallel.h"
#include "kernels/ops/panels.h"
#include "model/architecture/config.h"
#include "model/architecture/variant.h"
#include "model/checkpoint/weights.h"
#include "model/decoder/decoder.h"
#include "model/lockstep/lockstep_pass.h"

namespace ulpscope {
namespace {

// Bytes of activations that a pass holds at once, at most.
class PassBytes {
 public:
  PassBytes(const ModelConfig& config, Logits logits)
      : logits_(logits),
        hidden_(static_cast<double>(config.hidden_size)),
        kv_(static_cast<double>(config.kv_size())),
        vocab_(static_cast<double>(config.vocab_size)) {
    const double q = static_cast<double>(config.q_size());
    const double mlp = static_cast<double>(config.intermediate_size);
    // Per position: the stream and its carry, what else is still needed, an
    // op's inputs once more where a batch copies them, and its outputs.
    layer_ = std::max({8 * hidden_,                    // a residual add
                       4 * hidden_ + q + 2 * kv_,      // v_proj
                       2 * hidden_ + 3 * q + 4 * kv_,  // rope; q_norm is less
                       3 * hidden_ + 5 * mlp});        // swiglu
  }

  void Add(const Stream& stream) {
    const size_t rows = stream.tokens.size();
    const size_t padded = (rows + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
    rows_ += static_cast<double>(rows);
    // Keys and values of one layer, in panels.
    keys_ += static_cast<double>(padded) * 2 * kv_;
    if (logits_ == Logits::kNone) return;
    const double logit_rows =
        logits_ == Logits::kLast ? 1 : static_cast<double>(rows);
    logit_rows_ += logit_rows;
    most_logit_rows_ = std::max(most_logit_rows_, logit_rows);
  }

  double Max() const {
    // The final norm's output is held with the stream and its carry.
    const double logit_rows =
        std::min(logit_rows_, kLogitRows - 1 + most_logit_rows_);
    const double head = rows_ * 3 * hidden_ + logit_rows * (hidden_ + vocab_);
    return sizeof(double) * std::max(rows_ * layer_ + keys_, head);
  }

 private:
  Logits logits_;
  double hidden_, kv_, vocab_;
  double layer_ = 0;
  double rows_ = 0, keys_ = 0;
  double logit_rows_ = 0, most_logit_rows_ = 0;  // of all streams, of one
};

// Whether each of so many rows is in it once; or it is empty.
bool IsOrder(const std::vector<int32_t>& rows, int64_t size) {
  if (rows.empty()) return true;
  std::vector<bool> seen(static_cast<size_t>(size));
  for (const int32_t row : rows) {
    if (row < 0 || row >= size || seen[static_cast<size_t>(row)]) return false;
    seen[static_cast<size_t>(row)] = true;
  }
  return rows.size() == seen.size();
}

// Why it cannot be computed; empty if it can.
std::string Fault(const ModelConfig& config, const Variant& variant) {
  if (!std::isfinite(variant.rope_theta) || variant.rope_theta < 0) {
    return absl::StrCat("rope_theta ", variant.rope_theta,
                        ", expected a positive number, or 0 for the config's");
  }
  if (!std::isfinite(variant.norm_eps)) {
    return absl::StrCat("norm_eps ", variant.norm_eps, ", expected a number");
  }
  if (!std::isfinite(variant.attention_scale)) {
    return absl::StrCat("attention_scale ", variant.attention_scale,
                        ", expected a number");
  }
  if (!IsOrder(variant.q_rows, config.q_size()) ||
      !IsOrder(variant.k_rows, config.kv_size())) {
    return "q_rows or k_rows, expected each row of q_proj or k_proj once";
  }
  if (!variant.layers.empty() &&
      variant.layers.size() != static_cast<size_t>(config.num_hidden_layers)) {
    return absl::StrCat("a variant of ", variant.layers.size(),
                        " layers, but the model has ",
                        config.num_hidden_layers);
  }
  return "";
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
  const std::string fault = Fault(weights.config, stream.variant);
  if (!fault.empty()) return error(fault);
  for (size_t layer = 1; layer <= stream.variant.layers.size(); ++layer) {
    const std::string of_layer =
        Fault(weights.config, stream.variant.In(layer));
    if (!of_layer.empty()) return error(of_layer);
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

double LockstepBytes(const ModelConfig& config,
                     absl::Span<const Stream> streams, Logits logits) {
  PassBytes bytes(config, logits);
  for (const Stream& stream : streams) bytes.Add(stream);
  return bytes.Max();
}

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
    size_t count = 1;
    PassBytes bytes(weights.config, options.logits);
    bytes.Add(streams[first]);
    for (; first + count < streams.size(); ++count) {
      bytes.Add(streams[first + count]);
      if (bytes.Max() > static_cast<double>(options.memory)) break;
    }
    const absl::Span<const Stream> some = streams.subspan(first, count);
    try {
      LockstepPass pass(weights, some, first, options, work_done, work,
                        observer, parallel);
      const absl::Status status = pass.Run();
      if (!status.ok()) return status;
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "no memory for the activations of %d runs at once, at most %.0f "
          "bytes of %d allowed",
          count, LockstepBytes(weights.config, some, options.logits),
          options.memory));
    }
    first += count;
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
