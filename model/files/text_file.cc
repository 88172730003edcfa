#include "model/files/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/files/mapped_file.h"

namespace ulpscope {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  int number() const { return number_; }

 private:
  const int number_;
};

}  // namespace

absl::StatusOr<std::string> ReadTextFile(absl::string_view path, size_t most) {
  const std::string name(path);
  // Non-blocking, or opening a FIFO would wait for its writer.
  const Descriptor file(open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0 && (errno == ENXIO || errno == ENODEV)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     ": expected a regular file or a FIFO, found a socket or a "
                     "device"));
  }
  if (file.number() < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot open"));
  }
  struct stat info = {};
  if (fstat(file.number(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot stat"));
  }
  if (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a regular file or a FIFO, found ",
                     FileKindText(info.st_mode)));
  }
  // Once it is open, what its writer has not written yet is waited for.
  if (fcntl(file.number(), F_SETFL, 0) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot read"));
  }
  constexpr size_t kPart = size_t{1} << 16;
  std::string text;
  for (;;) {
    const size_t before = text.size();
    text.resize(before + std::min(kPart, most - before + 1));
    const ssize_t count =
        read(file.number(), &text[before], text.size() - before);
    const int error = errno;
    text.resize(before + static_cast<size_t>(std::max<ssize_t>(count, 0)));
    if (count == 0) break;
    if (count < 0 && error != EINTR) {
      return absl::ErrnoToStatus(error, absl::StrCat(path, ": cannot read"));
    }
    if (text.size() > most) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": expected at most ", most, " bytes, found more"));
    }
  }
  if (text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": file is empty",
        S_ISFIFO(info.st_mode) ? " (a FIFO that nobody writes to)" : ""));
  }
  return text;
}

}  // namespace ulpscope
