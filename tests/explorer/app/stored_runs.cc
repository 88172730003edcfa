#include "tests/explorer/app/stored_runs.h"

#include <signal.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "explorer/store/record.h"
#include "explorer/store/shards.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/explorer/app/run_explorer.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {

std::string Path(const std::string& name) {
  return absl::StrCat(TestFolder(), "/", name);
}

StoreContents Contents(const std::string& store) {
  if (!std::filesystem::exists(store + "/meta.json") ||
      !std::filesystem::exists(store + "/shards")) {
    return {};
  }
  auto contents = ReadStore(store);
  EXPECT_TRUE(contents.ok()) << contents.status();
  return contents.ok() ? *std::move(contents) : StoreContents();
}

std::map<std::string, std::string> Errors(const StoreContents& contents) {
  std::map<std::string, std::string> errors;
  for (const Record& record : contents.records) {
    if (record.kind != "time") errors[record.key] = record.result;
  }
  return errors;
}

std::set<std::string> Keys(const StoreContents& contents) {
  std::set<std::string> keys;
  for (const Record& record : contents.records) keys.insert(record.key);
  return keys;
}

void KillInTheMiddle(const std::vector<std::string>& arguments,
                     const std::string& store, size_t measurements,
                     std::mt19937& random) {
  const size_t records =
      std::uniform_int_distribution<size_t>(0, measurements - 1)(random);
  const int64_t microseconds =
      std::uniform_int_distribution<int64_t>(0, 3000)(random);
  StopExplorerWhen(
      arguments,
      [&] {
        if (Contents(store).records.size() < records) return false;
        absl::SleepFor(absl::Microseconds(microseconds));
        return true;
      },
      SIGKILL);
}

std::pair<size_t, size_t> Counts(const Outcome& run) {
  for (absl::string_view line : absl::StrSplit(run.err, '\n')) {
    // "store DIR: 4 measurements were there, 7 are new"
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (!absl::StartsWith(line, "store ") || words.size() != 9) continue;
    std::pair<size_t, size_t> counts;
    EXPECT_TRUE(absl::SimpleAtoi(words[2], &counts.first)) << line;
    EXPECT_TRUE(absl::SimpleAtoi(words[6], &counts.second)) << line;
    return counts;
  }
  ADD_FAILURE() << run.err;
  return {};
}

nlohmann::json Results(const std::string& out) {
  auto json = nlohmann::json::parse(Read(out + "/results.json"));
  json["context"].erase("load_seconds");
  return json;
}

}  // namespace ulpscope
