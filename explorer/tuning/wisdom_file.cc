#include "explorer/tuning/wisdom_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "explorer/tuning/wisdom.h"
#include "kernels/ops/tuning.h"
#include "model/files/mapped_file.h"
#include "model/files/output_file.h"

namespace ulpscope {
namespace {

// Processes that add to one wisdom file, one after the other: the lock goes
// with the file that is opened, however the process ends.
class FileLock {
 public:
  // Others hold it as long as they need to read and write a file. One that is
  // stopped may hold it forever.
  static constexpr absl::Duration kPatience = absl::Seconds(5);

  explicit FileLock(const std::string& path) {
    file_ = open(path.c_str(),
                 O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (file_ < 0) {
      status_ = absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot open"));
      return;
    }
    const absl::Time start = absl::Now();
    while (flock(file_, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK && absl::Now() - start > kPatience) {
        status_ = absl::UnavailableError(
            absl::StrCat(path, ": another process holds this lock"));
        return;
      }
      if (errno != EWOULDBLOCK && errno != EINTR) {
        status_ =
            absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot lock"));
        return;
      }
      absl::SleepFor(absl::Milliseconds(10));
    }
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() {
    if (file_ >= 0) close(file_);
  }

  const absl::Status& status() const { return status_; }

 private:
  int file_ = -1;
  absl::Status status_;
};

// Behind a link, the file that it points to: all processes take its lock.
std::string FileBehind(const std::string& path) {
  std::error_code error;
  const std::filesystem::path file = std::filesystem::canonical(path, error);
  return error ? path : file.string();
}

// Makes the file's folder. What cannot be replaced has no lock beside it
// either: a link to a device would have it among the devices.
absl::Status PrepareToWrite(const std::string& path) {
  const std::filesystem::path folder =
      std::filesystem::path(path).parent_path();
  if (!folder.empty()) {
    const absl::Status made = MakeFolder(folder.string());
    if (!made.ok()) return made;
  }
  return CheckReplaceable(path);
}

}  // namespace

absl::StatusOr<Wisdom> LoadWisdom(const std::string& path) {
  const auto file = MappedFile::Open(path);
  if (file.ok()) return Wisdom::Parse((*file)->text(), path);
  if (absl::IsNotFound(file.status())) return Wisdom();
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error) &&
      std::filesystem::is_empty(path, error)) {
    return Wisdom::Parse("", path);
  }
  return file.status();
}

absl::Status AddToWisdom(const Wisdom& wisdom, const std::string& path) {
  const absl::Status ready = PrepareToWrite(path);
  if (!ready.ok()) return ready;
  const std::string file = FileBehind(path);
  const FileLock lock(absl::StrCat(file, ".lock"));
  if (!lock.status().ok()) return lock.status();
  absl::StatusOr<Wisdom> all = LoadWisdom(file);
  if (absl::IsDataLoss(all.status())) {
    std::string damaged;
    if (const auto bytes = MappedFile::Open(file); bytes.ok()) {
      damaged = std::string((*bytes)->text());
    }
    const absl::Status kept = WriteFile(absl::StrCat(file, ".bad"), damaged);
    if (!kept.ok()) return kept;
    all = Wisdom();
  }
  if (!all.ok()) return all.status();
  all->Add(wisdom);
  return WriteFile(file, all->Text());
}

std::string DefaultWisdomPath() {
  // The XDG specification ignores paths that are not absolute.
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') {
    return absl::StrCat(cache, "/ulpscope/wisdom.json");
  }
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') {
    return absl::StrCat(home, "/.cache/ulpscope/wisdom.json");
  }
  return "";
}

WisdomFile::WisdomFile(const std::string& flag, size_t threads)
    : machine_(Machine::This(threads)) {
  if (flag == "none") {
    reason_ = "--wisdom=none";
    return;
  }
  path_ = flag.empty() ? DefaultWisdomPath() : flag;
  if (path_.empty()) {
    reason_ = "no --wisdom, and neither XDG_CACHE_HOME nor HOME is set";
    return;
  }
  auto wisdom = LoadWisdom(path_);
  if (!wisdom.ok()) {
    reason_ = std::string(wisdom.status().message());
    ignored_ = true;
    damaged_ = absl::IsDataLoss(wisdom.status());
    return;
  }
  read_ = *std::move(wisdom);
  tunings_ = read_.Find(machine_);
  if (tunings_ != nullptr) return;
  if (read_.num_machines() == 0) {
    reason_ = absl::StrCat(path_, " does not exist (--tune makes it)");
    return;
  }
  reason_ = absl::StrFormat(
      "%s knows other machines, thread counts or kernel versions, but not %s, "
      "%s, %d threads, version %d",
      path_, machine_.cpu, machine_.target, machine_.threads,
      machine_.kernel_version);
  ignored_ = true;
}

absl::Status WisdomFile::CheckKeeps() const {
  if (path_.empty()) return absl::OkStatus();
  const absl::Status ready = PrepareToWrite(path_);
  if (!ready.ok()) return ready;
  const std::string file = FileBehind(path_);
  const FileLock lock(absl::StrCat(file, ".lock"));
  if (!lock.status().ok()) return lock.status();
  // It is deleted again.
  return OutputFile::Create(file).status();
}

absl::Status WisdomFile::Keep(const Tunings::Key& key,
                              const MatMulTuning& tuning) {
  if (path_.empty()) return absl::OkStatus();
  tuned_.Set(machine_, key, tuning);
  return AddToWisdom(tuned_, path_);
}

absl::Status WisdomFile::Drop(absl::Span<const Tunings::Key> keys) {
  if (path_.empty() || keys.empty()) return absl::OkStatus();
  for (const Tunings::Key& key : keys) tuned_.Set(machine_, key, {});
  return AddToWisdom(tuned_, path_);
}

}  // namespace ulpscope
