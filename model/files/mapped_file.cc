#include "model/files/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ulpscope {

// Places are reused and never freed, so that a handler can walk along them
// without a lock.
struct MappedPlace {
  std::atomic<const uint8_t*> begin{nullptr};  // null: free
  std::atomic<ptrdiff_t> size{0};
  std::atomic<const char*> path{nullptr};
  MappedPlace* next = nullptr;
};

namespace {

std::mutex places_mutex;  // held to take one
std::atomic<MappedPlace*> places{nullptr};
struct sigaction action_before;  // of SIGBUS

void WriteError(const char* text) {
  // What cannot be written has no other way to be told.
  const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(written);
}

// Whoever reads a file keeps it alive, and with it its path.
void OnBusError(int signal, siginfo_t* info, void* context) {
  const auto* const address = static_cast<const uint8_t*>(info->si_addr);
  const MappedPlace* place =
      info->si_code == BUS_ADRERR ? places.load() : nullptr;
  for (; place != nullptr; place = place->next) {
    const uint8_t* const begin = place->begin;
    if (begin == nullptr || address < begin || address - begin >= place->size) {
      continue;
    }
    for (const char* const text :
         {"\n", static_cast<const char*>(program_invocation_short_name), ": ",
          place->path.load(),
          ": was truncated while it was read, or its disk failed\n"}) {
      WriteError(text);
    }
    _exit(1);
  }
  if ((action_before.sa_flags & SA_SIGINFO) != 0) {
    action_before.sa_sigaction(signal, info, context);
  } else if (action_before.sa_handler != SIG_DFL &&
             action_before.sa_handler != SIG_IGN) {
    action_before.sa_handler(signal);
  } else {
    sigaction(signal, &action_before, nullptr);
    raise(signal);  // once this returns
  }
}

MappedPlace* TakePlace(absl::Span<const uint8_t> bytes, const char* path) {
  const std::lock_guard<std::mutex> lock(places_mutex);
  if (places == nullptr) {
    struct sigaction action = {};
    action.sa_sigaction = &OnBusError;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &action_before);
  }
  MappedPlace* place = places;
  while (place != nullptr && place->begin != nullptr) place = place->next;
  if (place == nullptr) {
    place = new MappedPlace;
    place->next = places;
    places = place;
  }
  place->size = static_cast<ptrdiff_t>(bytes.size());
  place->path = path;
  place->begin = bytes.data();  // last: now it is found
  return place;
}

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
  // Else both would be "not found", and what may be missing be taken for that.
  if (descriptor < 0 && (errno == ENXIO || errno == ENODEV)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected a regular file, found a socket or a device"));
  }
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
      path, absl::MakeConstSpan(static_cast<const uint8_t*>(data), size),
      StateOf(info)));
}

MappedFile::State MappedFile::StateOf(const struct stat& info) {
  return {info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
          info.st_mtim.tv_nsec};
}

MappedFile::MappedFile(absl::string_view path, absl::Span<const uint8_t> bytes,
                       const State& state)
    : path_(path),
      state_(state),
      bytes_(bytes),
      place_(TakePlace(bytes, path_.c_str())) {}

absl::Status MappedFile::CheckUnchanged() const {
  struct stat info = {};
  if (stat(path_.c_str(), &info) != 0) return absl::OkStatus();  // it is gone
  const State now = StateOf(info);
  const bool is_other =
      now.device != state_.device || now.inode != state_.inode;
  if (is_other || (now.size == state_.size && now.seconds == state_.seconds &&
                   now.nanoseconds == state_.nanoseconds)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat(path_, ": another process wrote to it while it was read (",
                   state_.size, " bytes before, ", now.size, " after)"));
}

MappedFile::~MappedFile() {
  place_->begin = nullptr;
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
