#ifndef EXPLORER_STORE_SHARDS_H_
#define EXPLORER_STORE_SHARDS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "explorer/store/record.h"

namespace ulpscope {

// A store is a folder:
//   meta.json                    its version, and who made it
//   shards/HOST-PID-START.jsonl  one per process, which appends to it
// Any file system will do; a store can be copied while it grows, and files of
// several can be put into one folder of shards, or into one file.

// Where a record's line is: it can be read again, so that nobody needs to hold
// the results of a whole store.
struct LinePlace {
  std::shared_ptr<const std::string> path;  // of the shard
  uint64_t offset = 0;
  size_t size = 0;  // without its end
};

// The record of a line that was read or written before. What the system says,
// or DataLoss if the line has changed since then.
absl::StatusOr<Record> ReadRecord(const LinePlace& place);

// What the folder's shards have.
struct StoreContents {
  std::vector<Record> records;  // by shard, and as they were written
  // What was skipped, one of each shard: "DIR/shards/x.jsonl: line 7: it is cut
  // off".
  std::vector<std::string> skipped;
};

// Reads a store that is there. NotFound, FailedPrecondition for another
// version, or what the system says, naming the path. What is wrong with a shard
// or with a line is no error: it is skipped.
absl::StatusOr<StoreContents> ReadStore(const std::string& folder);

// The same, record by record, with where each is. Returns what was skipped.
absl::StatusOr<std::vector<std::string>> ForEachRecord(
    const std::string& folder,
    absl::FunctionRef<void(Record, const LinePlace&)> take);

// Paths of the store's shards, in the order of their names. Errors as
// ReadStore's.
absl::StatusOr<std::vector<std::string>> ShardsOf(const std::string& folder);

// Of one shard, or of a file into which several were put. What was skipped of
// it, or empty.
std::string ForEachRecordOfShard(
    const std::string& path,
    absl::FunctionRef<void(Record, const LinePlace&)> take);

// Makes the folder a store, unless it is one. Errors as ReadStore's; also where
// no file can be made in it.
absl::Status MakeStore(const std::string& folder, absl::string_view created_by);

// A process' own shard. The file is made with the first line.
class ShardWriter {
 public:
  // `run` is HOST-PID-START.
  ShardWriter(const std::string& folder, std::string run);
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;
  ~ShardWriter();

  const std::string& run() const { return run_; }
  const std::string& path() const { return *path_; }

  // Appends the line and its end in one write, and returns when it is on the
  // disk: where it is then. After an error, which names the path, no part of it
  // is in the file.
  absl::StatusOr<LinePlace> Append(absl::string_view line);

 private:
  absl::Status Create();

  const std::string folder_;  // of the shards
  const std::string run_;
  const std::shared_ptr<const std::string> path_;
  int file_ = -1;
  size_t size_ = 0;    // of whole lines
  bool torn_ = false;  // something is behind them
};

// This process', from now on.
std::string NewRun();

}  // namespace ulpscope

#endif  // EXPLORER_STORE_SHARDS_H_
