#include "model/files/output_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "model/files/mapped_file.h"

namespace ulpscope {
namespace {

constexpr size_t kRandomDigits = 16;
// Of the name, before ".tmp." and the digits: file systems take 255 bytes.
constexpr size_t kMostOfName = 200;

struct Place {
  std::string folder;  // with a slash at its end, or empty
  std::string prefix;  // of the temporaries' names
};

Place PlaceOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  const size_t base = slash == absl::string_view::npos ? 0 : slash + 1;
  return {std::string(path.substr(0, base)),
          absl::StrCat(path.substr(base).substr(0, kMostOfName), ".tmp.")};
}

void Remove(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

int OpenFolder(const std::string& folder) {
  return open(folder.empty() ? "." : folder.c_str(),
              O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

bool IsTemporary(absl::string_view name, absl::string_view prefix) {
  if (!absl::ConsumePrefix(&name, prefix) || name.size() != kRandomDigits) {
    return false;
  }
  for (const char c : name) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

// Those of processes that have ended: nobody holds their lock.
void RemoveAbandoned(const Place& place) {
  const int folder = OpenFolder(place.folder);
  DIR* const list = folder < 0 ? nullptr : fdopendir(folder);
  if (list == nullptr) {
    if (folder >= 0) close(folder);
    return;  // what is not found stays
  }
  while (const dirent* const entry = readdir(list)) {
    if (!IsTemporary(entry->d_name, place.prefix)) continue;
    const std::string path = absl::StrCat(place.folder, entry->d_name);
    // A folder is not opened for writing; NFS locks only what is.
    constexpr int kFlags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int file = open(path.c_str(), O_RDWR | kFlags);
    if (file < 0) file = open(path.c_str(), O_RDONLY | kFlags);
    if (file < 0) continue;
    if (flock(file, LOCK_EX | LOCK_NB) == 0) Remove(path);
    close(file);
  }
  closedir(list);
}

int MakeTemporary(const std::string& path, bool folder) {
  if (!folder) {
    return open(path.c_str(),
                O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  }
  return mkdir(path.c_str(), 0777) == 0 ? OpenFolder(path) : -1;
}

// False if another process took it for abandoned before it was locked. Where a
// file system has no locks, nobody can take it for that.
bool Lock(int descriptor) {
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
  struct stat info = {};
  return fstat(descriptor, &info) == 0 && info.st_nlink > 0;
}

}  // namespace

Output::~Output() {
  if (descriptor_ < 0) return;
  Remove(temporary_);
  close(descriptor_);
}

absl::Status Output::Error(absl::string_view what) const {
  return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": ", what));
}

absl::StatusOr<Output> Output::Create(absl::string_view path, bool folder) {
  const Place place = PlaceOf(path);
  RemoveAbandoned(place);
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    uint64_t random = 0;
    if (getentropy(&random, sizeof(random)) != 0) break;
    std::string temporary =
        absl::StrCat(place.folder, place.prefix,
                     absl::Hex(random, absl::PadSpec::kZeroPad16));
    const int descriptor = MakeTemporary(temporary, folder);
    if (descriptor < 0) {
      if (errno == EEXIST) continue;
      break;
    }
    if (Lock(descriptor)) return Output(path, std::move(temporary), descriptor);
    close(descriptor);
  }
  return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot create"));
}

absl::Status Output::Sync() {
  return fsync(descriptor_) == 0 ? absl::OkStatus() : Error("cannot write");
}

absl::Status Output::Commit() {
  const absl::Status synced = Sync();
  if (!synced.ok()) return synced;
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return Error("cannot replace");
  }
  close(std::exchange(descriptor_, -1));
  // The new name is to be on the disk too. A folder may be one that cannot be
  // read, or of a file system that does not do this.
  const int folder = OpenFolder(PlaceOf(path_).folder);
  if (folder < 0) return absl::OkStatus();
  absl::Status status;
  if (fsync(folder) != 0 && errno != EINVAL) status = Error("cannot write");
  close(folder);
  return status;
}

namespace {

// The file that is to be replaced: behind links, and a regular one or none yet.
absl::StatusOr<std::string> ReplaceableFile(absl::string_view path) {
  std::string file(path);
  std::error_code error;
  if (std::filesystem::is_symlink(file, error)) {
    const auto behind = std::filesystem::canonical(file, error);
    if (!error) file = behind.string();
    // A circle of links is no name for a file; one to nothing is replaced.
    if (error && error != std::errc::no_such_file_or_directory) {
      return absl::ErrnoToStatus(error.value(),
                                 absl::StrCat(path, ": cannot replace"));
    }
  }
  struct stat info = {};
  if (stat(file.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": cannot replace: expected a regular file, found ",
                     FileKindText(info.st_mode)));
  }
  return file;
}

}  // namespace

absl::Status CheckReplaceable(absl::string_view path) {
  return ReplaceableFile(path).status();
}

absl::StatusOr<OutputFile> OutputFile::Create(absl::string_view path) {
  const absl::StatusOr<std::string> file = ReplaceableFile(path);
  if (!file.ok()) return file.status();
  struct stat info = {};
  const bool exists = stat(file->c_str(), &info) == 0;
  auto output = Output::Create(*file, /*folder=*/false);
  if (!output.ok()) return output.status();
  OutputFile result(*std::move(output));
  if (exists && fchmod(result.descriptor_, info.st_mode & 0777) != 0) {
    return result.Error("cannot create");
  }
  return result;
}

absl::Status OutputFile::Write(uint64_t offset, const void* data, size_t size) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t count =
        pwrite(descriptor_, bytes, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("cannot write");
    bytes += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

absl::StatusOr<OutputFolder> OutputFolder::Create(absl::string_view path) {
  while (absl::ConsumeSuffix(&path, "/")) {
  }
  const std::string folder(path);
  std::error_code error;
  const auto found = std::filesystem::status(folder, error);
  if (std::filesystem::exists(found) &&
      !(std::filesystem::is_directory(found) &&
        std::filesystem::is_empty(folder, error))) {
    return absl::InvalidArgumentError(absl::StrCat(
        folder, ": expected no such folder or an empty one, found ",
        std::filesystem::is_directory(found) ? "one with files" : "a file"));
  }
  auto output = Output::Create(path, /*folder=*/true);
  if (!output.ok()) return output.status();
  return OutputFolder(*std::move(output));
}

absl::Status WriteFile(absl::string_view path, absl::string_view text) {
  absl::StatusOr<OutputFile> file = OutputFile::Create(path);
  if (!file.ok()) return file.status();
  const absl::Status status = file->Write(0, text.data(), text.size());
  return status.ok() ? file->Commit() : status;
}

absl::Status MakeFolder(absl::string_view path) {
  std::error_code error;
  std::filesystem::create_directories(std::string(path), error);
  if (error) {
    return absl::ErrnoToStatus(
        error.value(), absl::StrCat(path, ": cannot create the folder"));
  }
  const auto trial = OutputFile::Create(absl::StrCat(path, "/trial"));
  return trial.ok() ? absl::OkStatus() : trial.status();
}

}  // namespace ulpscope
