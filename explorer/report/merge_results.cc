#include "explorer/report/merge_results.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/report/markdown.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/schema.h"
#include "explorer/store/merge.h"

namespace ulpscope {
namespace {

// Rows of conflicts that reports show; the files have all.
constexpr size_t kMostRows = 50;

using KindRow = std::pair<const std::string, MergedKind>;

std::optional<std::string> IfAny(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

Fields<MergedSource> SourceFields() {
  using S = MergedSource;
  const auto n = Unit::kNone;
  return {{"name", "Source", n,
           "A store's folder, or a shard; the first is the store into which "
           "all is put.",
           &S::path},
          {"shards", "Shards", n, "Files that were read.", &S::shards},
          {"records", "Records", n, "In them, whole.", &S::records},
          {"taken", "Taken", n,
           "Records that stand for what was measured: others have the same "
           "result, or are older times.",
           &S::taken},
          {"skipped", "Skipped", n,
           "What could not be read, one of each file: lines that are cut off "
           "or damaged.",
           &S::skipped}};
}

Fields<KindRow> KindFields() {
  const auto n = Unit::kNone;
  return {{"kind", "Kind", n, "What was measured.", &KindRow::first},
          {"records", "Records", n, "In all sources.",
           [](const KindRow& k) { return k.second.records; }},
          {"measurements", "Measurements", n, "That are not the same.",
           [](const KindRow& k) { return k.second.keys; }},
          {"checked", "On several machines", n,
           "Measurements, no times, of which there are records of several CPUs "
           "or SIMD targets.",
           [](const KindRow& k) { return k.second.checked; }},
          {"conflicts", "Conflicts", n,
           "Records whose result is not that of the first of the same "
           "measurement, though a strategy fixes the bits.",
           [](const KindRow& k) { return k.second.conflicts; }}};
}

void AddOrigin(const char* prefix, const char* title,
               RecordOrigin BitConflict::*origin, Fields<BitConflict>& fields) {
  const auto n = Unit::kNone;
  const auto add = [&](const char* name, const char* of, const char* about,
                       std::string RecordOrigin::*field) {
    fields.emplace_back(
        absl::StrCat(prefix, name), absl::StrCat(title, of), n, about,
        [origin, field](const BitConflict& c) { return c.*origin.*field; });
  };
  add("run", "", "The process, as its shard is called.", &RecordOrigin::run);
  add("cpu", " CPU", "Its CPU.", &RecordOrigin::cpu);
  add("target", " target", "Its SIMD target.", &RecordOrigin::target);
  add("build", " build", "Its commit.", &RecordOrigin::build);
}

Fields<BitConflict> ConflictFields() {
  using C = BitConflict;
  const auto n = Unit::kNone;
  Fields<C> fields = {
      {"kind", "Kind", n, "What was measured.", &C::kind},
      {"id", "Key", n, "The measurement's, as its records have it.", &C::key},
      {"model_name", "Model", n, "As --model named it.", &C::model},
      {"plan", "Plan", n, "The plan's canonical text.", &C::plan},
      {"tokens", "Tokens", n, "Their ids.", &C::tokens},
      {"figure", "Figure", n, "The first that is not the same.",
       [](const C& c) { return c.difference.figure; }},
      {"first_value", "First value", n,
       "Of the first record, with every bit; null if it has none.",
       [](const C& c) { return IfAny(c.difference.first); }},
      {"second_value", "Second value", n, "Of the other.",
       [](const C& c) { return IfAny(c.difference.second); }}};
  AddOrigin("first_", "First", &C::first, fields);
  AddOrigin("second_", "Second", &C::second, fields);
  return fields;
}

std::string TextIn(const Table& table, size_t row, absl::string_view column) {
  return ValueText(table.rows[row][table.Find(column)]);
}

}  // namespace

Results MergeResults(const std::string& into, const Merge& merge) {
  const auto n = Unit::kNone;
  Fields<Merge> fields = {
      {"into", "", n, "The store that all is put into.",
       [&into](const Merge&) { return into; }},
      {"written", "", n, "Records that it did not have.", &Merge::written},
      {"shard", "", n, "The file that has them; null for none.",
       [](const Merge& m) { return IfAny(m.shard); }}};
  return {
      "merge",
      {MakeSingle("context", "What was merged.", fields, &merge),
       MakeTable("sources", "What was read.", SourceFields(), merge.sources),
       MakeTable("kinds", "How much there was of each kind.", KindFields(),
                 merge.kinds),
       MakeTable("conflicts",
                 "Measurements of which there are several results.",
                 ConflictFields(), merge.conflicts)}};
}

std::string MergeReport(const Results& results) {
  const Table& context = results.tables[0];
  const Table& sources = results.Find("sources");
  const Table& conflicts = results.Find("conflicts");
  std::string text = absl::StrFormat(
      "# Merge\n\n%s: %s new records.\n\n%s\n%s", TextIn(context, 0, "into"),
      TextIn(context, 0, "written"),
      Markdown(sources, {"name", "shards", "records", "taken"}),
      Markdown(results.Find("kinds"),
               {"kind", "records", "measurements", "checked", "conflicts"}));
  std::string skipped;
  for (const std::vector<Value>& row : sources.rows) {
    for (const std::string& what :
         std::get<std::vector<std::string>>(row[sources.Find("skipped")])) {
      absl::StrAppend(&skipped, "- ", what, "\n");
    }
  }
  if (!skipped.empty()) {
    absl::StrAppend(&text, "\n## Skipped\n\n", skipped);
  }
  if (conflicts.rows.empty()) return text;
  size_t shown = 0;
  absl::StrAppend(
      &text, "\n## Conflicts\n\nA strategy fixes the bits, but ",
      conflicts.rows.size(),
      " records have others than the first of the same measurement. All are "
      "kept.\n\n",
      Markdown(conflicts,
               {"kind", "model_name", "plan", "figure", "first_value",
                "second_value", "first_cpu", "first_target", "second_cpu",
                "second_target", "id"},
               [&shown](const auto&) { return shown++ < kMostRows; }));
  if (conflicts.rows.size() > kMostRows) {
    absl::StrAppendFormat(&text, "\n%d more are in conflicts.csv.\n",
                          conflicts.rows.size() - kMostRows);
  }
  return text;
}

}  // namespace ulpscope
