#ifndef MODEL_TRACE_NAMED_ARRAYS_H_
#define MODEL_TRACE_NAMED_ARRAYS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/architecture/config.h"
#include "model/trace/name_mapping.h"
#include "model/trace/trace_contents.h"
#include "model/trace/trace_files.h"

namespace ulpscope {

// An array of a trace, or one that is made of others of it, by a name of
// model/trace/trace_names.h.
struct NamedArray {
  TraceArray array;
  std::string name;  // empty if it has none of these
  // How much it counts beside another array of that name.
  enum class Rank {
    kFallback,  // a rule gives it the name if nothing else has it
    kOther,     // another spelling, or a part of a fused array
    kCertain,   // a rule's, or the name itself
  };
  Rank rank = Rank::kOther;
};

struct NamedArrays {
  std::vector<NamedArray> arrays;
  // What is taken apart or added up, and cannot be.
  std::vector<ReferenceTrace::NotMeasured> failed;
};

// The arrays under the names that the mapping, and else FusedNames, give them:
// split, unstacked and added up. What `mapping` drops is left out. An array
// that is unstacked is unpacked to tell its entries, if it has at most
// `max_bytes`.
NamedArrays NameArrays(absl::Span<const TraceArray> arrays,
                       const NameMapping& mapping, const ModelConfig& config,
                       uint64_t max_bytes);

}  // namespace ulpscope

#endif  // MODEL_TRACE_NAMED_ARRAYS_H_
