#ifndef MODEL_TRACE_TRACE_INDEX_H_
#define MODEL_TRACE_TRACE_INDEX_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/trace/named_arrays.h"
#include "model/trace/trace_contents.h"
#include "model/trace/trace_files.h"
#include "model/trace/trace_names.h"

namespace ulpscope {

// Which array of a trace is which of the model's tensors, by their names.
class TraceIndex {
 public:
  // An error, which names `path`, if two arrays are certain to have one name.
  static absl::StatusOr<TraceIndex> Make(absl::string_view path,
                                         NamedArrays arrays, size_t num_layers);

  // Null if it has none.
  const TraceArray* Find(const TraceName& name) const;

  const std::map<TraceName, NamedArray>& named() const { return named_; }

  // Tensors between others of their series that the trace lacks: hidden states
  // up to the model's last if it has any, outputs of layers if it has that of
  // another layer.
  std::vector<ReferenceTrace::NotMeasured> Missing() const;

  // Arrays that cannot be taken apart or added up, and that are none of the
  // model's tensors: the first ones, and how many more.
  std::vector<ReferenceTrace::NotMeasured> Foreign() const;

 private:
  explicit TraceIndex(size_t num_layers) : num_layers_(num_layers) {}

  void AddForeign(absl::string_view name, std::string reason);
  absl::Status Add(absl::string_view path, const TraceName& name,
                   NamedArray named);

  size_t num_layers_;
  std::map<TraceName, NamedArray> named_;
  std::vector<ReferenceTrace::NotMeasured> failed_;
  std::vector<ReferenceTrace::NotMeasured> foreign_;  // the first ones
  size_t num_foreign_ = 0;
};

}  // namespace ulpscope

#endif  // MODEL_TRACE_TRACE_INDEX_H_
