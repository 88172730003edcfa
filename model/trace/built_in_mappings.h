#ifndef MODEL_TRACE_BUILT_IN_MAPPINGS_H_
#define MODEL_TRACE_BUILT_IN_MAPPINGS_H_

#include "absl/strings/string_view.h"

namespace ulpscope {

// The rules (model/trace/name_mapping.h) that --mapping has under this name;
// empty if it has none. "llama.cpp": the nodes of its graph.
absl::string_view BuiltInMapping(absl::string_view name);

// Rules for what any trace may hold without a mapping: stacked hidden states,
// fused projections, and (hidden, residual) pairs.
absl::string_view FusedNames();

}  // namespace ulpscope

#endif  // MODEL_TRACE_BUILT_IN_MAPPINGS_H_
