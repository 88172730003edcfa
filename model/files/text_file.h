#ifndef MODEL_FILES_TEXT_FILE_H_
#define MODEL_FILES_TEXT_FILE_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// The text of a file that is read once: a regular file, or what comes out of a
// FIFO until nobody has it open for writing any more, as of a shell's
// <(command) and of /dev/stdin behind a pipe. Errors name the path: missing,
// not readable, of another kind, empty, more than `most` bytes. A FIFO that
// nobody writes to is empty at once; one whose writer is slow is waited for.
absl::StatusOr<std::string> ReadTextFile(absl::string_view path, size_t most);

}  // namespace ulpscope

#endif  // MODEL_FILES_TEXT_FILE_H_
