#include "model/lockstep.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/panels.h"
#include "kernels/parallel.h"
#include "model/config.h"
#include "model/lockstep_pass.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {
namespace {

// Bytes of activations per position of a stream, at most: what a pass holds at
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
    LockstepPass pass(weights, streams.subspan(first, count), first, options,
                      work_done, work, observer, parallel);
    if (!pass.Run()) return absl::CancelledError("stopped");
    first += count;
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
