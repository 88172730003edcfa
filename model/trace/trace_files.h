#ifndef MODEL_TRACE_TRACE_FILES_H_
#define MODEL_TRACE_TRACE_FILES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/files/stored_array.h"

namespace ulpscope {

// An array that a trace has, not read yet.
struct TraceArray {
  std::string name;
  std::string file;
  // An error is of this array only and says what was expected and found. What
  // is compressed is not unpacked beyond `max_bytes` (or 64 MiB).
  std::function<absl::StatusOr<StoredArray>(uint64_t max_bytes)> read;
};

// The arrays of a trace, each name once, in the order of their names: those of
// a .safetensors, .npz, .npy or .bin file, or of all such files in a folder.
// The only array of a .npy or .bin file has the name of the file without the
// extension. Errors: what cannot be opened, holds none, or is damaged so that
// its arrays cannot be told; a name that occurs twice.
absl::StatusOr<std::vector<TraceArray>> OpenTraceFiles(absl::string_view path);

}  // namespace ulpscope

#endif  // MODEL_TRACE_TRACE_FILES_H_
