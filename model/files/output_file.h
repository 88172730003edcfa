#ifndef MODEL_FILES_OUTPUT_FILE_H_
#define MODEL_FILES_OUTPUT_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// A file being written. It is another one beside it, which takes its place with
// Commit; without, it is deleted. Errors name the file.
class OutputFile {
 public:
  static absl::StatusOr<OutputFile> Create(absl::string_view path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // At an offset in bytes; what is never written is zero.
  absl::Status Write(uint64_t offset, const void* data, size_t size);

  // Closes the file and puts it in its place.
  absl::Status Commit();

 private:
  OutputFile(absl::string_view path, int file);
  absl::Status Error(absl::string_view what) const;

  std::string path_;
  std::string temporary_;
  int file_;
};

}  // namespace ulpscope

#endif  // MODEL_FILES_OUTPUT_FILE_H_
