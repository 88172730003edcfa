#ifndef EXPLORER_STORE_RECORD_H_
#define EXPLORER_STORE_RECORD_H_

#include <cstddef>
#include <map>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/error/archive.h"

namespace ulpscope {

// Raised when a line's own members change their names or their meaning.
inline constexpr int kStoreVersion = 1;

// No line is longer, without its end.
inline constexpr size_t kMostOfLine = size_t{16} << 20;

// One measurement, and a line of a shard:
//   {"check":C,"host":{...},"input":{...},"key":K,"kind":"error","result":{...},
//    "run":R,"t":"2026-11-28T22:14:25.123456Z","v":1}
struct Record {
  // All that fixes the result, by name, and its ContentHash: measurements of
  // the same key have the same bits, or are times of the same thing.
  std::map<std::string, std::string> input;
  std::string key;
  std::string kind;  // "error", "time", ...: also in the input
  // Where and when. The process, as its shard is called; UTC.
  std::string run, time;
  // "model" (its name), "cpu", "target", "threads", "tuning", "build".
  std::map<std::string, std::string> host;
  // JSON's text: members in the order of their names, ASCII, no blanks.
  std::string result;

  // Of the input or of the host; empty if there is none.
  absl::string_view Input(const std::string& name) const;
  absl::string_view Host(const std::string& name) const;
  // A time, of one machine: of one key the newest counts.
  bool is_time() const { return input.count("cpu") > 0; }
  // All of one key have the same result.
  bool fixes_bits() const { return input.count("target") == 0; }
};

std::string KeyOf(const std::map<std::string, std::string>& input);

// Without the end of the line.
std::string LineOf(const Record& record);

// DataLoss says what is wrong with the line: it is cut off, is no strict JSON,
// lacks something, is of another version, or its checksum or key is not that of
// its contents. The result of a line that LineOf may have written is not parsed
// yet: the checksum says that nothing changed, not who wrote it.
absl::StatusOr<Record> ParseLine(absl::string_view line);

// Visits the result with `read`. False if it is something else.
bool ReadResult(const Record& record, absl::FunctionRef<void(Archive&)> read);

// The result as its struct, whose header declares Visit: of an "error"
// explorer/error/archived_metrics.h, into a TraceMetrics.
template <typename T>
absl::StatusOr<T> ResultOf(const Record& record) {
  T value = {};
  if (ReadResult(record, [&](Archive& archive) { Visit(archive, value); })) {
    return value;
  }
  return absl::DataLossError(absl::StrCat("the record ", record.key, " of ",
                                          record.run,
                                          ": its result is not one"));
}

}  // namespace ulpscope

#endif  // EXPLORER_STORE_RECORD_H_
