#ifndef MODEL_FILES_GGUF_FILE_H_
#define MODEL_FILES_GGUF_FILE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/files/ggml_type.h"
#include "model/files/gguf_array.h"
#include "model/files/mapped_file.h"

namespace ulpscope {

// A metadata value; the integer types widened to 64 bits, strings within the
// file's mapping.
using GgufValue =
    std::variant<bool, uint64_t, int64_t, double, absl::string_view, GgufArray>;

struct GgufTensor {
  const GgmlType* type = nullptr;
  std::vector<int64_t> shape;  // slowest dimension first, as in safetensors
  absl::Span<const uint8_t> bytes;
  std::shared_ptr<const MappedFile> file;  // which part of a model has it
};

// The container format GGUF (github.com/ggml-org/ggml, docs/gguf.md), versions
// 2 and 3, little-endian: metadata, and a table of tensors.
class GgufFile {
 public:
  // Checks every count, length, shape and offset in the file; errors name the
  // file, and the key or tensor with what was expected and found. A file that
  // is one of several parts (NAME-00001-of-00003.gguf, as llama-gguf-split
  // writes them) is opened with the others, whichever of them is named: all
  // tensors, and the metadata of the first.
  static absl::StatusOr<GgufFile> Open(absl::string_view path);

  // The first part.
  const MappedFile& file() const { return *file_; }

  // Null if there is none. Valid as long as this object.
  const GgufValue* FindValue(absl::string_view key) const;
  const GgufTensor* FindTensor(absl::string_view name) const;
  const std::map<std::string, GgufTensor, std::less<>>& tensors() const {
    return tensors_;
  }

 private:
  static absl::StatusOr<GgufFile> OpenPart(absl::string_view path);
  // An integer of the metadata, or `missing`.
  absl::StatusOr<uint64_t> Integer(absl::string_view key,
                                   uint64_t missing) const;

  explicit GgufFile(std::shared_ptr<const MappedFile> file)
      : file_(std::move(file)) {}

  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, GgufValue, std::less<>> values_;
  std::map<std::string, GgufTensor, std::less<>> tensors_;
};

}  // namespace ulpscope

#endif  // MODEL_FILES_GGUF_FILE_H_
