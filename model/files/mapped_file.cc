#include "model/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ulpscope {
namespace {

// Whole pages within [begin, end) of a mapping; none if it covers no page.
void DropPages(const uint8_t* begin, const uint8_t* end) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first =
      (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  const uintptr_t last = reinterpret_cast<uintptr_t>(end) / page * page;
  if (first < last) {
    // Only a hint: on failure the pages merely stay resident.
    madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }
}

}  // namespace

const char* FileKindText(unsigned mode) {
  return S_ISREG(mode)    ? "a regular file"
         : S_ISDIR(mode)  ? "a folder"
         : S_ISFIFO(mode) ? "a FIFO"
         : S_ISSOCK(mode) ? "a socket"
                          : "a device";
}

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(
    absl::string_view path) {
  const std::string name(path);
  // Non-blocking, or opening a FIFO would wait for its writer.
  const int descriptor = open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot open"));
  }
  struct stat info;
  if (fstat(descriptor, &info) != 0) {
    const int error = errno;
    close(descriptor);
    return absl::ErrnoToStatus(error, absl::StrCat(path, ": cannot stat"));
  }
  if (!S_ISREG(info.st_mode)) {
    close(descriptor);
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected a regular file, found ", FileKindText(info.st_mode)));
  }
  if (info.st_size == 0) {
    close(descriptor);
    return absl::InvalidArgumentError(absl::StrCat(path, ": file is empty"));
  }
  const size_t size = static_cast<size_t>(info.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int error = errno;
  close(descriptor);
  if (data == MAP_FAILED) {
    return absl::ErrnoToStatus(error, absl::StrCat(path, ": cannot map"));
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(
      path, absl::MakeConstSpan(static_cast<const uint8_t*>(data), size)));
}

MappedFile::~MappedFile() {
  munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

std::shared_ptr<const void> MappedFile::Hold(
    absl::Span<const uint8_t> range) const {
  return std::shared_ptr<const void>(
      range.data(), [file = shared_from_this(), range](const void*) {
        DropPages(range.data(), range.data() + range.size());
      });
}

}  // namespace ulpscope
