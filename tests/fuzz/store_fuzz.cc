// The lines of a store's shard, and what a comparison makes of them; the first
// of them as the store's meta.json, too.

#include <cstddef>
#include <string>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/app/stored_sweep.h"
#include "explorer/error/archived_metrics.h"
#include "explorer/error/metrics.h"
#include "explorer/results/results_json.h"
#include "explorer/store/difference.h"
#include "explorer/store/json_archive.h"
#include "explorer/store/record.h"
#include "explorer/store/shards.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

void UseDifference(const Record& first, const Record& second) {
  const FigureDifference none = DifferenceOf(first, first);
  Require(none.figure.empty() || none.first == "no object of JSON",
          "a result differs from itself");
  const FigureDifference one = DifferenceOf(first, second);
  const FigureDifference other = DifferenceOf(second, first);
  Require(!one.Text().empty() && one.figure.empty() == other.figure.empty(),
          "results differ in one order only");
  Require(first.result != second.result || one.figure == none.figure,
          "equal results differ");
}

void ReadMeta(absl::string_view text) {
  static auto& folder = *new InputFolder();
  folder.Set("meta.json", text);
  const auto shards = ShardsOf(folder.path());
  // There is no folder of shards beside it.
  RequireNames(shards.status(), folder.path());
}

}  // namespace

void ReadInput(absl::string_view text) {
  ReadMeta(text.substr(0, text.find('\n')));
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
    if (!contents.records.empty()) {
      UseDifference(contents.records.back(), *record);
    }
    contents.records.push_back(*std::move(record));
  }
  const auto sweep = StoredSweep(contents, "the store", StoredSubject());
  if (!sweep.ok()) return RequireNames(sweep.status(), "the store");
  ResultsJson(*sweep);
  const auto same = StoredSweep(contents, "store", SubjectOfResults(*sweep));
  if (same.ok()) ResultsJson(*same);
}

}  // namespace ulpscope
