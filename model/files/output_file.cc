#include "model/files/output_file.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace ulpscope {
namespace {

std::string TemporaryName(absl::string_view path) {
  return absl::StrCat(path, ".tmp.", getpid());
}

}  // namespace

OutputFile::OutputFile(absl::string_view path, int file)
    : path_(path), temporary_(TemporaryName(path)), file_(file) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      file_(std::exchange(other.file_, -1)) {}

OutputFile::~OutputFile() {
  if (file_ < 0) return;
  close(file_);
  unlink(temporary_.c_str());
}

absl::Status OutputFile::Error(absl::string_view what) const {
  return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": ", what));
}

absl::StatusOr<OutputFile> OutputFile::Create(absl::string_view path) {
  const int file =
      open(TemporaryName(path).c_str(),
           O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (file < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot create"));
  }
  return OutputFile(path, file);
}

absl::Status OutputFile::Write(uint64_t offset, const void* data, size_t size) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t count =
        pwrite(file_, bytes, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("cannot write");
    bytes += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Commit() {
  absl::Status status;
  if (fsync(file_) != 0) status = Error("cannot write");
  if (close(std::exchange(file_, -1)) != 0 && status.ok()) {
    status = Error("cannot write");
  }
  if (status.ok() && std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    status = Error("cannot replace");
  }
  if (!status.ok()) unlink(temporary_.c_str());
  return status;
}

}  // namespace ulpscope
