#ifndef MODEL_TRACE_TRACE_DUMP_H_
#define MODEL_TRACE_TRACE_DUMP_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "model/trace/trace_dump_options.h"

namespace ulpscope {

// Runs the plan over the tokens and writes what LoadReferenceTrace reads.
//
// With a path that ends in .safetensors: one file with every op's output under
// the names of model/trace/trace_names.h (of kv_k and kv_v in layers where the
// plan rounds what they store), the hidden states, and the tokens.
// Values are F32, F64 where that would round one. Outputs are [positions,
// width], scores [heads, positions, positions], zero above the diagonal.
// Metadata: format, made_by, plan, model, and last_hidden_state: final_norm or
// residual_stream.
//
// With another path: a folder, which may exist if it is empty, of
// after_embeddings.bin, after_layer_N.bin and final_logits.bin (of all
// positions). Values are rounded to f32.
//
// Beside the decoder's own, it takes memory for one output at a time, and in a
// safetensors file for a layer's scores, 16 bytes * heads * positions^2.
// Nothing appears at the path unless it is complete. Errors: as
// Decoder::Forward's, of writing, Cancelled if stopped.
absl::Status DumpTrace(const Weights& weights, const Plan& plan,
                       absl::Span<const int32_t> tokens, absl::string_view path,
                       const TraceDumpOptions& options, Parallel& parallel);

}  // namespace ulpscope

#endif  // MODEL_TRACE_TRACE_DUMP_H_
