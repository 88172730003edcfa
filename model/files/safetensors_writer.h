#ifndef MODEL_FILES_SAFETENSORS_WRITER_H_
#define MODEL_FILES_SAFETENSORS_WRITER_H_

#include <cstddef>
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
#include "model/files/output_file.h"

namespace ulpscope {

// Writes a .safetensors file tensor by tensor, so that none need be in memory
// but the one that is written: the header's place is kept free at the file's
// beginning. The file appears with Finish, and not without. Errors name it.
class SafetensorsWriter {
 public:
  // Room in the header for `names`, the tensors that will be written.
  // `metadata` is the header's __metadata__.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      absl::string_view path, const std::vector<std::string>& names,
      const std::map<std::string, std::string>& metadata);

  // Writes one of `names`, of at most kMaxDimensions dimensions; each once, in
  // any order. Values are F32 if that rounds none, else F64; F64 too for an odd
  // number of values, so that the data of every tensor begins at a multiple of
  // 8 bytes, which PyTorch's reader needs.
  absl::Status WriteFloats(absl::string_view name,
                           const std::vector<int64_t>& shape,
                           absl::Span<const double> values);
  // I64.
  absl::Status WriteIntegers(absl::string_view name,
                             absl::Span<const int32_t> values);

  // After all of them: makes the file appear, whole.
  absl::Status Finish();

  static constexpr size_t kMaxDimensions = 3;

 private:
  struct Entry {
    const char* dtype = "";
    std::vector<int64_t> shape;
    uint64_t begin = 0;
    uint64_t end = 0;
    bool written = false;
  };

  SafetensorsWriter(absl::string_view path, OutputFile file,
                    const std::vector<std::string>& names,
                    const std::map<std::string, std::string>& metadata);

  std::string Header() const;
  // Writes the bytes of `values` as elements of dtype.
  template <typename T, typename V>
  absl::Status Write(absl::string_view name, const char* dtype,
                     const std::vector<int64_t>& shape,
                     absl::Span<const V> values);

  const std::string path_;
  const std::map<std::string, std::string> metadata_;
  std::map<std::string, Entry, std::less<>> entries_;
  uint64_t header_size_ = 0;
  uint64_t data_size_ = 0;
  OutputFile file_;
};

}  // namespace ulpscope

#endif  // MODEL_FILES_SAFETENSORS_WRITER_H_
