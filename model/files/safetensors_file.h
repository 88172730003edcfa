#ifndef MODEL_FILES_SAFETENSORS_FILE_H_
#define MODEL_FILES_SAFETENSORS_FILE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/files/mapped_file.h"

namespace ulpscope {

// Upstream's limit, in bytes.
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

// A tensor of a .safetensors file, of any dtype of the format.
struct SafetensorsEntry {
  absl::string_view dtype;  // "F32", ...; of static storage
  std::vector<int64_t> shape;
  absl::Span<const uint8_t> bytes;  // as many as dtype and shape take
  std::shared_ptr<const MappedFile> file;
};

// Ordered, so that the first error found is always the same one.
using SafetensorsEntries = std::map<std::string, SafetensorsEntry, std::less<>>;

// The tensors of one file, whose header is checked as
// model/checkpoint/safetensors.h says.
absl::StatusOr<SafetensorsEntries> ReadSafetensorsFile(absl::string_view path);

// The file name of each tensor's shard, as a model.safetensors.index.json says.
absl::StatusOr<std::map<std::string, std::string>> ReadSafetensorsIndex(
    absl::string_view path);

// "FILE: tensor NAME: expected ..., found ..."
absl::Status SafetensorsError(absl::string_view file, absl::string_view tensor,
                              absl::string_view expected,
                              absl::string_view found);

}  // namespace ulpscope

#endif  // MODEL_FILES_SAFETENSORS_FILE_H_
