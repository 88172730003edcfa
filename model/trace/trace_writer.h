#ifndef MODEL_TRACE_TRACE_WRITER_H_
#define MODEL_TRACE_TRACE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/trace/trace_dump_options.h"

namespace ulpscope {

// Where the tensors of a trace go. Nothing is at the path before Finish, or
// without.
class TraceWriter {
 public:
  // A .safetensors file, or a folder of .bin files, as model/trace/trace_dump.h
  // says.
  static absl::StatusOr<std::unique_ptr<TraceWriter>> Create(
      absl::string_view path, const ModelConfig& config, const Plan& plan,
      absl::Span<const int32_t> tokens, const TraceDumpOptions& options);

  virtual ~TraceWriter() = default;

  virtual bool WantsOutput(size_t layer, Op op) const = 0;
  // Under a name of TraceNamesOf, or as hidden state `index`.
  virtual absl::Status WriteOutput(const std::string& name,
                                   const std::vector<int64_t>& shape,
                                   absl::Span<const double> values) = 0;
  virtual absl::Status WriteState(size_t index,
                                  const std::vector<int64_t>& shape,
                                  absl::Span<const double> values) = 0;
  virtual absl::Status Finish() = 0;
};

}  // namespace ulpscope

#endif  // MODEL_TRACE_TRACE_WRITER_H_
