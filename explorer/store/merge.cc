#include "explorer/store/merge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/run.h"
#include "explorer/store/difference.h"
#include "explorer/store/record.h"
#include "explorer/store/shards.h"
#include "model/files/content_hash.h"
#include "model/files/mapped_file.h"
#include "model/files/output_file.h"
#include "model/files/strict_json.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

constexpr char kTask[] = "merging";

// One result of a key, as the line that is to stand for it.
struct Line {
  std::string result;  // its hash
  std::string time;
  size_t source = 0;
  size_t number = 0;  // in the order in which lines are read
  LinePlace place;
};

// What was measured of a key.
struct Measured {
  std::vector<Line> lines;  // one, but for results that differ
  size_t machine = 0;       // of the first record
  bool checked = false;     // on another machine too
};

RecordOrigin OriginOf(const Record& record) {
  return {record.run, std::string(record.Host("cpu")),
          std::string(record.Host("target")),
          std::string(record.Host("build"))};
}

// What a process wrote that was killed in its first line does.
bool BeginsAsShard(const std::string& path) {
  const auto file = MappedFile::Open(path);
  return file.ok() && absl::StartsWith((*file)->text(), "{\"check\":\"");
}

class Merger {
 public:
  Merger(Merge& merge, Monitor& monitor) : merge_(merge), monitor_(monitor) {}

  // What the store has that all is put into.
  absl::Status ReadInto(const std::string& path) {
    std::error_code error;
    if (std::filesystem::exists(absl::StrCat(path, "/meta.json"), error)) {
      const absl::Status status = Read(path);
      num_into_ = num_lines_;
      return status;
    }
    merge_.sources.push_back({path, 0, 0, 0, {}});
    return absl::OkStatus();
  }

  // All of a store, or a shard.
  absl::Status Read(const std::string& path) {
    std::vector<std::string> shards = {path};
    std::error_code error;
    const bool is_store = std::filesystem::is_directory(path, error);
    if (is_store) {
      auto found = ShardsOf(path);
      if (!found.ok()) return found.status();
      shards = *std::move(found);
    }
    merge_.sources.push_back({path, shards.size(), 0, 0, {}});
    MergedSource& source = merge_.sources.back();
    for (size_t i = 0; i < shards.size(); ++i) {
      if (monitor_.stopped()) return Stopped();
      monitor_.OnProgress(kTask, i, shards.size() + 1, path);
      std::string skipped = ForEachRecordOfShard(
          shards[i], [&](const Record& record, const LinePlace& place) {
            Add(record, place);
          });
      if (!status_.ok()) return status_;
      // What is damaged in it is said, but its measurements are not left out.
      if (!skipped.empty() && is_store &&
          std::filesystem::is_regular_file(shards[i], error)) {
        const auto readable = MappedFile::Open(shards[i]);
        if (!readable.ok()) return readable.status();
      }
      if (!skipped.empty()) source.skipped.push_back(std::move(skipped));
    }
    // Any file can be given by its name, such as a report's by mistake.
    if (!is_store && source.records == 0 && !source.skipped.empty() &&
        !BeginsAsShard(path)) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected a store's folder, or a shard of one, found no "
                       "record in ",
                       source.skipped[0]));
    }
    return absl::OkStatus();
  }

  // Whether all that the store does not have can be put into it: results are
  // not parsed until then.
  absl::Status Check() const {
    for (const Line* const line : NewLines()) {
      if (monitor_.stopped()) return Stopped();
      const auto record = ReadRecord(line->place);
      if (!record.ok()) return record.status();
      const auto result = ParseJsonObject(
          record->result,
          absl::StrCat(*line->place.path, ": the result of ", record->key));
      if (!result.ok()) return result.status();
    }
    return absl::OkStatus();
  }

  // Writes what the store did not have, which Check has seen.
  absl::Status Write(const std::string& path) {
    for (const auto& [key, measured] : by_key_) {
      for (const Line& line : measured.lines) {
        ++merge_.sources[line.source].taken;
      }
    }
    const std::vector<const Line*> lines = NewLines();
    if (!lines.empty()) {
      auto file = OutputFile::Create(path);
      if (!file.ok()) return file.status();
      uint64_t size = 0;
      for (const Line* const line : lines) {
        if (monitor_.stopped()) return Stopped();
        const auto record = ReadRecord(line->place);
        if (!record.ok()) return record.status();
        const std::string text = absl::StrCat(LineOf(*record), "\n");
        const absl::Status written =
            file->Write(size, text.data(), text.size());
        if (!written.ok()) return written;
        size += text.size();
      }
      absl::Status written = file->Sync();
      if (written.ok()) written = file->Commit();
      if (!written.ok()) return written;
      merge_.shard = path;
      merge_.written = lines.size();
    }
    monitor_.OnProgress(kTask, 1, 1, "");
    return absl::OkStatus();
  }

 private:
  static absl::Status Stopped() {
    return absl::CancelledError("while merging: nothing was written");
  }

  // What the store does not have, as it was read.
  std::vector<const Line*> NewLines() const {
    std::vector<const Line*> lines;
    for (const auto& [key, measured] : by_key_) {
      for (const Line& line : measured.lines) {
        if (line.number >= num_into_) lines.push_back(&line);
      }
    }
    std::sort(lines.begin(), lines.end(), [](const Line* a, const Line* b) {
      return a->number < b->number;
    });
    return lines;
  }

  // The machines that have the same index had better measure the same bits.
  size_t MachineOf(const Record& record) {
    const std::string name =
        absl::StrCat(record.Host("cpu"), "\n", record.Host("target"));
    return machines_.try_emplace(name, machines_.size()).first->second;
  }

  void Add(const Record& record, const LinePlace& place) {
    MergedSource& source = merge_.sources.back();
    MergedKind& kind = merge_.kinds[record.kind];
    ++source.records;
    ++kind.records;
    const Line line = {ContentHash(record.result), record.time,
                       merge_.sources.size() - 1, num_lines_++, place};
    const auto [it, is_new] = by_key_.try_emplace(record.key);
    Measured& measured = it->second;
    const size_t machine = MachineOf(record);
    if (is_new) {
      ++kind.keys;
      measured.machine = machine;
      measured.lines.push_back(line);
      return;
    }
    if (record.is_time()) {
      Line& newest = measured.lines[0];
      if (record.time > newest.time) newest = line;
      return;
    }
    if (machine != measured.machine && !measured.checked) {
      measured.checked = true;
      ++kind.checked;
    }
    for (const Line& other : measured.lines) {
      if (other.result == line.result) return;
    }
    if (record.fixes_bits()) AddConflict(record, measured.lines[0], kind);
    measured.lines.push_back(line);
  }

  void AddConflict(const Record& record, const Line& first, MergedKind& kind) {
    const auto other = ReadRecord(first.place);
    if (!other.ok()) {
      if (status_.ok()) status_ = other.status();
      return;
    }
    ++kind.conflicts;
    merge_.conflicts.push_back(
        {record.kind, record.key, std::string(record.Host("model")),
         std::string(record.Input("plan")), std::string(record.Input("tokens")),
         DifferenceOf(*other, record), OriginOf(*other), OriginOf(record)});
  }

  Merge& merge_;
  Monitor& monitor_;
  std::unordered_map<std::string, Measured> by_key_;
  std::unordered_map<std::string, size_t> machines_;
  size_t num_lines_ = 0;
  size_t num_into_ = 0;  // lines that the store has
  absl::Status status_;
};

}  // namespace

absl::StatusOr<Merge> MergeStores(absl::Span<const std::string> from,
                                  const std::string& into,
                                  absl::string_view created_by,
                                  Monitor& monitor) {
  for (const std::string& path : from) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
      return absl::NotFoundError(
          absl::StrCat(path,
                       ": expected a store's folder, or a shard of one, "
                       "found nothing"));
    }
    if (std::filesystem::equivalent(path, into, error)) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": expected another store than the one into which it is put"));
    }
  }
  Merge merge;
  Merger merger(merge, monitor);
  absl::Status status = merger.ReadInto(into);
  for (const std::string& path : from) {
    if (status.ok()) status = merger.Read(path);
  }
  if (status.ok()) status = merger.Check();
  // Not before: of sources that are none, nothing is made.
  if (status.ok()) status = MakeStore(into, created_by);
  if (status.ok()) {
    status = merger.Write(absl::StrCat(into, "/shards/", NewRun(), ".jsonl"));
  }
  if (!status.ok()) return status;
  return merge;
}

}  // namespace ulpscope
