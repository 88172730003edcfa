// The lines of a store's shard, and what a comparison makes of them.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "explorer/app/stored_sweep.h"
#include "explorer/error/archived_metrics.h"
#include "explorer/error/metrics.h"
#include "explorer/results/results_json.h"
#include "explorer/store/json_archive.h"
#include "explorer/store/record.h"
#include "explorer/store/shards.h"
#include "model/files/content_hash.h"
#include "nlohmann/json.hpp"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

void Read(absl::string_view text) {
  StoreContents contents;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    auto record = ParseLine(line);
    if (!record.ok()) {
      Require(absl::IsDataLoss(record.status()), "another error");
      continue;
    }
    const std::string written = LineOf(*record);
    const auto again = ParseLine(written);
    Require(again.ok() && LineOf(*again) == written,
            "a record cannot be read back");
    const auto metrics = ResultOf<TraceMetrics>(*record);
    if (metrics.ok()) IsWhole(*metrics, metrics->layers.size());
    contents.records.push_back(*std::move(record));
  }
  const auto sweep = StoredSweep(contents, "the store", StoredSubject());
  if (!sweep.ok()) {
    return Require(!sweep.status().message().empty(), "an error says nothing");
  }
  ResultsJson(*sweep);
  const auto same = StoredSweep(contents, "store", SubjectOfResults(*sweep));
  if (same.ok()) ResultsJson(*same);
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

// As record.h says.
std::string WithChecks(Json line) {
  line.erase("check");
  if (line.contains("input") && line["input"].is_object()) {
    line["key"] = ContentHash(Dump(line["input"]));
    if (line["input"].contains("kind")) line["kind"] = line["input"]["kind"];
  }
  line["check"] = ContentHash(Dump(line));
  return Dump(line);
}

}  // namespace
}  // namespace ulpscope

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ulpscope::Read(ulpscope::TextOf(data, size));
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  using ulpscope::Json;
  ulpscope::Choice choice(seed);
  if (choice.Below(8) == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::vector<std::string> lines =
      absl::StrSplit(ulpscope::TextOf(data, size), '\n');
  std::string& line = lines[choice.Below(lines.size())];
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    ulpscope::Mutate(line);
  } else if (choice.Below(8) == 0) {
    lines.push_back(std::string(line));
  } else {
    ulpscope::MutateJson(choice, json);
    line = json.is_object() ? ulpscope::WithChecks(std::move(json)) : "{}";
  }
  return ulpscope::PutBack(absl::StrJoin(lines, "\n"), data, size, max_size);
}
