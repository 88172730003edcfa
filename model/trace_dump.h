#ifndef MODEL_TRACE_DUMP_H_
#define MODEL_TRACE_DUMP_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/parallel.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {

struct TraceDumpOptions {
  // Whether the last hidden state is the one after the final norm, as
  // transformers' output_hidden_states has it, or the residual stream.
  bool last_state_is_normed = true;
  std::function<bool()> stop;  // asked now and then; true ends it
  std::function<void(size_t done, size_t total)> progress;
};

// Runs the plan over the tokens and writes what reference traces hold: with a
// path that ends in .safetensors, one file with every op's output under the
// names of model/trace_names.h, the tokens, and the plan as metadata (values
// are F32, F64 where that would round); else a folder of after_embeddings.bin,
// after_layer_N.bin and final_logits.bin. Cancelled, without a file, if
// stopped.
absl::Status DumpTrace(const Weights& weights, const Plan& plan,
                       absl::Span<const int32_t> tokens, absl::string_view path,
                       const TraceDumpOptions& options, Parallel& parallel);

}  // namespace ulpscope

#endif  // MODEL_TRACE_DUMP_H_
