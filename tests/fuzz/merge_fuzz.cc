// Two shards, of which every other line is one's, put into a store.

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/error/run.h"
#include "explorer/report/merge_results.h"
#include "explorer/results/results_json.h"
#include "explorer/store/merge.h"
#include "explorer/store/shards.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

class NoMonitor : public Monitor {
 public:
  bool stopped() override { return false; }
  void OnProgress(absl::string_view, size_t, size_t,
                  absl::string_view) override {}
};

}  // namespace

void ReadInput(absl::string_view input) {
  static auto& folder = *new InputFolder();
  static auto& monitor = *new NoMonitor();
  std::string shards[2];
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(input, '\n')) {
    absl::StrAppend(&shards[number++ % 2], line, "\n");
  }
  // The last one is cut off.
  shards[(number - 1) % 2].pop_back();
  folder.Set("a.jsonl", shards[0]);
  folder.Set("b.jsonl", shards[1]);
  const std::string into = folder.PathOf("into");
  std::filesystem::remove_all(into);
  const std::vector<std::string> from = {folder.PathOf("a.jsonl"),
                                         folder.PathOf("b.jsonl")};
  const auto merge = MergeStores(from, into, "a target", monitor);
  if (!merge.ok()) {
    Require(!std::filesystem::exists(into), "an error leaves a store");
    return RequireNames(merge.status(), folder.path());
  }
  const Results results = MergeResults(into, *merge);
  MergeReport(results);
  ResultsJson(results);
  size_t keys = 0;
  for (const auto& [name, kind] : merge->kinds) keys += kind.keys;
  const auto contents = ReadStore(into);
  Require(contents.ok() && contents->skipped.empty(),
          "what was merged cannot be read");
  Require(contents->records.size() == merge->written && merge->written >= keys,
          "records are missing");
  const auto again = MergeStores(from, into, "a target", monitor);
  Require(again.ok() && again->written == 0, "a second merge writes more");
}

}  // namespace ulpscope
