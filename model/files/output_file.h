#ifndef MODEL_FILES_OUTPUT_FILE_H_
#define MODEL_FILES_OUTPUT_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// All that the program writes goes through here: under an unpredictable name
// beside its place, which it takes in one step when it is whole and on the
// disk. So whatever was there before stays as it is until then, whether a write
// fails or the process is killed. What a killed process left beside the place
// is removed when the same path is next written; a lock tells it from what
// others are writing. Errors name the path and the system's reason.

// Replaces the file, or makes it.
absl::Status WriteFile(absl::string_view path, absl::string_view text);

// An error if it could not replace what is there, which is no regular file
// behind any links: for those who make other files beside it first.
absl::Status CheckReplaceable(absl::string_view path);

// Creates the folder, and those above it, if it is missing. It is an error too
// if no file can be made in it.
absl::Status MakeFolder(absl::string_view path);

// What a file and a folder that are being written have in common. Without
// Commit, the destructor deletes them.
class Output {
 public:
  Output(Output&& other) noexcept
      : path_(std::move(other.path_)),
        temporary_(std::move(other.temporary_)),
        descriptor_(std::exchange(other.descriptor_, -1)) {}
  Output& operator=(Output&&) = delete;
  ~Output();

  // Waits until it is on the disk, so that Commit does not fail for lack of
  // space.
  absl::Status Sync();

  // Puts it in its place, once.
  absl::Status Commit();

 protected:
  Output(absl::string_view path, std::string temporary, int descriptor)
      : path_(path),
        temporary_(std::move(temporary)),
        descriptor_(descriptor) {}
  // Makes, opens and locks it.
  static absl::StatusOr<Output> Create(absl::string_view path, bool folder);
  absl::Status Error(absl::string_view what) const;

  std::string path_;
  std::string temporary_;
  int descriptor_;  // -1 once it is deleted or in its place
};

class OutputFile : public Output {
 public:
  // Takes the place of a regular file, whose permissions it keeps, or of none;
  // where the path is a link, of the file behind it. Other names of that file
  // (hard links) keep what it had. Anything else, such as a FIFO or a device,
  // is an error.
  static absl::StatusOr<OutputFile> Create(absl::string_view path);

  // At an offset in bytes; what is never written is zero.
  absl::Status Write(uint64_t offset, const void* data, size_t size);

 private:
  explicit OutputFile(Output output) : Output(std::move(output)) {}
};

class OutputFolder : public Output {
 public:
  // Takes the place of an empty folder or of none.
  static absl::StatusOr<OutputFolder> Create(absl::string_view path);

  // Where its files are to be written before Commit.
  const std::string& temporary() const { return temporary_; }

 private:
  explicit OutputFolder(Output output) : Output(std::move(output)) {}
};

}  // namespace ulpscope

#endif  // MODEL_FILES_OUTPUT_FILE_H_
