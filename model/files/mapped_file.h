#ifndef MODEL_FILES_MAPPED_FILE_H_
#define MODEL_FILES_MAPPED_FILE_H_

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

// "a folder", "a FIFO", ...: what a file of that st_mode is, for messages.
const char* FileKindText(unsigned mode);

struct MappedPlace;

// A file mapped for reading. Where another process shortens the file meanwhile,
// or its disk fails, reading what is gone ends the process with exit code 1 and
// a line on stderr that names the file: from the first Open on, SIGBUS has a
// handler, which leaves other faults to the one before it.
class MappedFile : public std::enable_shared_from_this<MappedFile> {
 public:
  // Errors name the path: missing, not readable, not a regular file, empty.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(
      absl::string_view path);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& path() const { return path_; }
  absl::Span<const uint8_t> bytes() const { return bytes_; }
  absl::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

  // FailedPrecondition, naming the path, if the file was written to or
  // shortened since it was opened: what was read of it may be of neither state.
  // Not if another one has taken its place, as programs that save files do;
  // this is the one before then.
  absl::Status CheckUnchanged() const;

  // Keeps the mapping alive; when the last copy goes, the whole pages within
  // the range leave this process's memory (they stay in the page cache), so
  // that reading tensors one after the other does not add up.
  std::shared_ptr<const void> Hold(absl::Span<const uint8_t> range) const;

 private:
  // What tells a file, and whether it was written to.
  struct State {
    uint64_t device = 0, inode = 0;
    int64_t size = 0, seconds = 0, nanoseconds = 0;
  };
  static State StateOf(const struct stat& info);

  MappedFile(absl::string_view path, absl::Span<const uint8_t> bytes,
             const State& state);

  std::string path_;
  const State state_;  // when it was opened
  absl::Span<const uint8_t> bytes_;
  MappedPlace* const place_;  // where the handler finds it
};

}  // namespace ulpscope

#endif  // MODEL_FILES_MAPPED_FILE_H_
