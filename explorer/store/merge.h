#ifndef EXPLORER_STORE_MERGE_H_
#define EXPLORER_STORE_MERGE_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/run.h"
#include "explorer/store/difference.h"

namespace ulpscope {

// A store, or a shard alone, that was read.
struct MergedSource {
  std::string path;
  size_t shards = 0;
  size_t records = 0;
  size_t taken = 0;                  // of which the merged store has the line
  std::vector<std::string> skipped;  // as StoreContents has it
};

// What there was of one kind of measurement: "error", "time", ...
struct MergedKind {
  size_t records = 0;
  size_t keys = 0;  // different measurements
  // Keys, no times, that were measured on several CPUs or SIMD targets: a check
  // that a strategy fixes the bits, which all that are in conflict have failed.
  size_t checked = 0;
  size_t conflicts = 0;  // of these and of others
};

// Who measured a record.
struct RecordOrigin {
  std::string run, cpu, target, build;
};

// A record whose result is not that of the first record of its key, though a
// strategy fixes the bits.
struct BitConflict {
  std::string kind, key;
  std::string model, plan, tokens;
  FigureDifference difference;
  RecordOrigin first, second;
};

struct Merge {
  std::vector<MergedSource> sources;  // the store that all is put into is first
  std::map<std::string, MergedKind> kinds;
  std::vector<BitConflict> conflicts;
  size_t written = 0;  // records
  std::string shard;   // the file that they were written to; empty for none
};

// Puts the records of stores and shards into the store `into`, which is made
// unless it is there, as one more shard, which is there whole or not at all.
// What `into` has already stays, and is not put there again; of a store that it
// makes,
//   each measurement has one line: of times the newest, of all else the first,
//   but for results of a key that differ, of which all are kept;
// and lines are as the processes wrote them, in the order of sources and
// shards. Nothing is taken from the sources. A line that is damaged or cut off
// is skipped and said. InvalidArgument or NotFound names a source that is no
// store and no shard, is `into`, or is not there. Cancelled if stopped; other
// errors as ReadStore's.
absl::StatusOr<Merge> MergeStores(absl::Span<const std::string> from,
                                  const std::string& into,
                                  absl::string_view created_by,
                                  Monitor& monitor);

}  // namespace ulpscope

#endif  // EXPLORER_STORE_MERGE_H_
