#include "explorer/store/shards.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "explorer/store/record.h"
#include "model/files/mapped_file.h"
#include "model/files/output_file.h"
#include "model/files/strict_json.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

constexpr char kSchema[] = "ulpscope/store";
constexpr size_t kMostOfMeta = size_t{1} << 16;

std::string MetaPath(const std::string& folder) {
  return absl::StrCat(folder, "/meta.json");
}

std::string ShardFolder(const std::string& folder) {
  return absl::StrCat(folder, "/shards");
}

absl::Status CheckMeta(const std::string& folder) {
  const std::string path = MetaPath(folder);
  const auto file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  if ((*file)->text().size() > kMostOfMeta) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": expected a store's, found more than ", kMostOfMeta, " bytes"));
  }
  const auto meta = ParseJsonObject((*file)->text(), path);
  if (!meta.ok()) return meta.status();
  const auto schema = meta->find("schema");
  const auto version = meta->find("version");
  if (schema == meta->end() || *schema != kSchema || version == meta->end() ||
      !version->is_number_integer()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": expected the schema ", kSchema,
                     " and a version, found neither or something else"));
  }
  if (*version != kStoreVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": the store is of version ", version->dump(),
        "; this program reads and writes version ", kStoreVersion));
  }
  return absl::OkStatus();
}

using TakeRecord = absl::FunctionRef<void(Record, const LinePlace&)>;

}  // namespace

absl::StatusOr<std::vector<std::string>> ShardsOf(const std::string& folder) {
  const absl::Status meta = CheckMeta(folder);
  if (!meta.ok()) return meta;
  // What is called *.jsonl.
  std::vector<std::string> paths;
  std::error_code error;
  std::filesystem::directory_iterator it(ShardFolder(folder), error), end;
  for (; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".jsonl") {
      paths.push_back(it->path().string());
    }
  }
  if (error) {
    return absl::ErrnoToStatus(
        error.value(),
        absl::StrCat(ShardFolder(folder), ": cannot read the folder"));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string ForEachRecordOfShard(const std::string& path, TakeRecord take) {
  std::error_code error;
  // A process may have ended before its first line.
  if (std::filesystem::is_regular_file(path, error) &&
      std::filesystem::file_size(path, error) == 0) {
    return "";
  }
  const auto file = MappedFile::Open(path);
  if (!file.ok()) return std::string(file.status().message());
  // What was read leaves the memory again, so much at a time.
  constexpr size_t kHeldBytes = size_t{4} << 20;
  const absl::Span<const uint8_t> bytes = (*file)->bytes();
  size_t held = 0;
  LinePlace place;
  place.path = std::make_shared<std::string>(path);
  std::string first;
  size_t faults = 0;
  for (size_t number = 1; place.offset < bytes.size(); ++number) {
    const absl::string_view text = (*file)->text().substr(place.offset);
    const size_t end = text.find('\n');
    const bool whole = end != absl::string_view::npos;
    place.size = whole ? end : text.size();
    auto record = ParseLine(text.substr(0, place.size));
    if (record.ok()) {
      take(*std::move(record), place);
    } else if (faults++ == 0) {
      first = absl::StrCat(
          "line ", number, ": ",
          whole ? record.status().message()
                : "it is cut off, as by a process that was killed");
    }
    place.offset += place.size + (whole ? 1 : 0);
    if (place.offset - held >= kHeldBytes) {
      (*file)->Hold(bytes.subspan(held, place.offset - held)).reset();
      held = place.offset;
    }
  }
  if (faults > 1) absl::StrAppend(&first, ", and ", faults - 1, " more lines");
  return faults > 0 ? absl::StrCat(path, ": ", first) : "";
}

absl::StatusOr<std::vector<std::string>> ForEachRecord(
    const std::string& folder, TakeRecord take) {
  const auto paths = ShardsOf(folder);
  if (!paths.ok()) return paths.status();
  std::vector<std::string> skipped;
  for (const std::string& path : *paths) {
    std::string what = ForEachRecordOfShard(path, take);
    if (!what.empty()) skipped.push_back(std::move(what));
  }
  return skipped;
}

absl::StatusOr<StoreContents> ReadStore(const std::string& folder) {
  StoreContents contents;
  auto skipped = ForEachRecord(folder, [&](Record record, const LinePlace&) {
    contents.records.push_back(std::move(record));
  });
  if (!skipped.ok()) return skipped.status();
  contents.skipped = *std::move(skipped);
  return contents;
}

absl::StatusOr<Record> ReadRecord(const LinePlace& place) {
  const int file = open(place.path->c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat(*place.path, ": cannot open"));
  }
  const absl::Cleanup closes = [file] { close(file); };
  std::string line(place.size, '\0');
  for (size_t done = 0; done < line.size();) {
    const ssize_t count = pread(file, line.data() + done, line.size() - done,
                                static_cast<off_t>(place.offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return absl::ErrnoToStatus(errno,
                                 absl::StrCat(*place.path, ": cannot read"));
    }
    if (count == 0) line.resize(done);
    done += static_cast<size_t>(count);
  }
  auto record = ParseLine(line);
  if (record.ok()) return record;
  return absl::DataLossError(
      absl::StrCat(*place.path, ": the line at byte ", place.offset,
                   " has changed: ", record.status().message()));
}

absl::Status MakeStore(const std::string& folder,
                       absl::string_view created_by) {
  absl::Status status = MakeFolder(folder);
  if (!status.ok()) return status;
  std::error_code error;
  if (!std::filesystem::exists(MetaPath(folder), error)) {
    // Two processes that do so at once write the same but for the time.
    const nlohmann::json meta = {
        {"schema", kSchema},
        {"version", kStoreVersion},
        {"created_by", std::string(created_by)},
        {"created", absl::FormatTime(absl::RFC3339_sec, absl::Now(),
                                     absl::UTCTimeZone())}};
    status = WriteFile(MetaPath(folder), meta.dump(1) + "\n");
    if (!status.ok()) return status;
  }
  status = CheckMeta(folder);
  return status.ok() ? MakeFolder(ShardFolder(folder)) : status;
}

ShardWriter::ShardWriter(const std::string& folder, std::string run)
    : folder_(ShardFolder(folder)),
      run_(std::move(run)),
      path_(std::make_shared<std::string>(
          absl::StrCat(folder_, "/", run_, ".jsonl"))) {}

ShardWriter::~ShardWriter() {
  if (file_ >= 0) close(file_);
}

absl::Status ShardWriter::Create() {
  file_ = open(path().c_str(),
               O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path(), ": cannot create"));
  }
  // Its name is to be on the disk too, where the file system does that.
  const int folder = open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    fsync(folder);
    close(folder);
  }
  return absl::OkStatus();
}

absl::StatusOr<LinePlace> ShardWriter::Append(absl::string_view line) {
  if (file_ < 0) {
    const absl::Status created = Create();
    if (!created.ok()) return created;
  }
  // What could not be taken back gets a line of its own.
  const std::string text = absl::StrCat(torn_ ? "\n" : "", line, "\n");
  const LinePlace place = {path_, size_ + (torn_ ? 1 : 0), line.size()};
  size_t done = 0;
  while (done < text.size()) {
    // The rest after a short write, whose error it then says.
    const ssize_t count = write(file_, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    done += static_cast<size_t>(count);
  }
  if (done == text.size() && fsync(file_) == 0) {
    size_ += done;
    torn_ = false;
    return place;
  }
  const absl::Status status =
      absl::ErrnoToStatus(errno, absl::StrCat(path(), ": cannot write"));
  if (done > 0 && ftruncate(file_, static_cast<off_t>(size_)) != 0) {
    torn_ = true;
    size_ += done;
  }
  return status;
}

std::string NewRun() {
  char name[256] = {};
  const bool has_name =
      gethostname(name, sizeof(name) - 1) == 0 && name[0] != 0;
  std::string host(has_name ? name : "unknown");
  constexpr size_t kMostOfHost = 64;
  host.resize(std::min(host.size(), kMostOfHost));
  for (char& c : host) {
    const auto byte = static_cast<unsigned char>(c);
    if (!absl::ascii_isalnum(byte) && c != '.' && c != '-') c = '_';
  }
  return absl::StrCat(
      host, "-", getpid(), "-",
      absl::FormatTime("%Y%m%dT%H%M%E6S", absl::Now(), absl::UTCTimeZone()));
}

}  // namespace ulpscope
