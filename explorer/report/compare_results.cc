#include "explorer/report/compare_results.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "explorer/report/markdown.h"
#include "explorer/results/results_csv.h"

namespace ulpscope {
namespace {

// Rows of a table that reports show; the files have all.
constexpr size_t kMostRows = 50;

using Files = ComparedFiles;

std::optional<std::string> IfAny(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

Fields<Files> ContextFields() {
  const auto n = Unit::kNone;
  return {{"base", "", n, "The run that it is compared with; null for none.",
           [](const Files& f) { return IfAny(f.base); }},
          {"now", "", n, "The run that is looked at.", &Files::now},
          {"gate", "", n, "The file of conditions; null for none.",
           [](const Files& f) { return IfAny(f.gate); }}};
}

// A column of either run's context, so that it is known what was compared.
void AddOf(const Results* run, const char* prefix, const char* column,
           const char* about, Table& table) {
  std::optional<std::string> text;
  if (run != nullptr && run->tables[0].Has(column)) {
    const Table& context = run->tables[0];
    text = ValueText(context.rows[0][context.Find(column)]);
  }
  AddValue(table, absl::StrCat(prefix, column), Unit::kNone, about, text);
}

std::string Shown(const Value& value, bool is_there) {
  if (!is_there) return "missing";
  const std::string text = ValueText(value);
  return text.empty() ? "-" : text;
}

Fields<Comparison::OfTable> TableFields() {
  using T = Comparison::OfTable;
  const auto n = Unit::kNone;
  return {
      {"table", "Table", n, "Of the results.", &T::table},
      {"figures", "Figures", n, "That are compared.", &T::figures},
      {"same", "Same", n, "Bit for bit.", &T::same},
      {"different", "Different", n, "In both, and not the same.",
       &T::different},
      {"only_in_base", "Only in base", n, "Missing now.", &T::only_in_base},
      {"only_in_now", "Only now", n, "Missing in the base.", &T::only_in_now}};
}

Fields<Comparison::Difference> DifferenceFields() {
  using D = Comparison::Difference;
  const auto n = Unit::kNone;
  return {{"table", "Table", n, "Of the results.", &D::table},
          {"of", "Of", n, "The keys of its row.", &D::of},
          {"metric", "Metric", n, "The figure's name.", &D::metric},
          {"unit", "Unit", n, "Its unit.", &D::unit},
          {"base", "Base", n,
           "Its value then, with every bit; \"-\" is not measured.",
           [](const D& d) { return Shown(d.base, d.in_base); }},
          {"now", "Now", n, "Its value now.",
           [](const D& d) { return Shown(d.now, d.in_now); }},
          {"ratio", "Ratio", Unit::kRatio,
           "Now by base; null where that is no number.", &D::ratio}};
}

Fields<Comparison::Speed> SpeedFields() {
  using S = Comparison::Speed;
  return {
      {"plan", "Plan", Unit::kNone, "The plan's canonical text.", &S::plan},
      {"phase", "Phase", Unit::kNone, "\"decode\" or \"prefill\".", &S::phase},
      {"base_seconds", "Base", Unit::kSeconds, "Median of the base's runs.",
       &S::base_seconds},
      {"now_seconds", "Now", Unit::kSeconds, "Median of the runs now.",
       &S::now_seconds},
      {"base_runs", "Runs then", Unit::kNone, "Their number.", &S::base_runs},
      {"now_runs", "Runs now", Unit::kNone, "Their number.", &S::now_runs},
      {"speed_ratio", "Speed", Unit::kRatio,
       "Of speeds: above 1, it became faster.", &S::ratio},
      {"p_value", "p", Unit::kNone,
       "Of a Mann-Whitney U test: how likely chance alone is.", &S::p},
      {"clear", "Clear", Unit::kNone,
       "Whether p is below 0.01 and the change above 3 %.", &S::clear}};
}

const char* OutcomeName(GateCheck::Outcome outcome) {
  switch (outcome) {
    case GateCheck::Outcome::kPassed:
      return "passed";
    case GateCheck::Outcome::kFailed:
      return "failed";
    case GateCheck::Outcome::kNotComparable:
      return "not comparable";
  }
  return "";
}

Fields<GateCheck> CheckFields() {
  using C = GateCheck;
  const auto n = Unit::kNone;
  return {{"line", "Line", n, "Of the gate's file, from 1.",
           [](const C& c) { return c.line->number; }},
          {"condition", "Condition", n, "The line.",
           [](const C& c) { return c.line->text; }},
          {"table", "Table", n, "That the figure is in; null without one.",
           [](const C& c) { return IfAny(c.table); }},
          {"of", "Of", n, "The keys of its row.", &C::of},
          {"metric", "Metric", n, "The figure's name.", &C::metric},
          {"base", "Base", n, "Its value then.",
           [](const C& c) { return ValueText(c.base); }},
          {"now", "Now", n, "Its value now.",
           [](const C& c) { return ValueText(c.now); }},
          {"limit", "Limit", n, "That it had to keep.", &C::limit},
          {"ratio", "Ratio", Unit::kRatio, "Now by base.", &C::ratio},
          {"p_value", "p", n, "Of a time: how likely chance alone is.", &C::p},
          {"outcome", "Outcome", n,
           "\"passed\", \"failed\", or \"not comparable\".",
           [](const C& c) { return std::string(OutcomeName(c.outcome)); }},
          {"why", "Why", n, "Why it is not comparable; a remark, or empty.",
           &C::why},
          {"command", "", n, "Measures it again; empty without a figure.",
           &C::command}};
}

// The table in Markdown, and what is left out of it.
std::string Section(const char* title, const Table& table,
                    const std::vector<std::string>& columns) {
  if (table.rows.empty()) return "";
  size_t shown = 0;
  std::string text = absl::StrCat(
      "\n## ", title, "\n\n", Markdown(table, columns, [&shown](const auto&) {
        return shown++ < kMostRows;
      }));
  if (table.rows.size() > kMostRows) {
    absl::StrAppendFormat(&text, "\n%d more are in %s.csv.\n",
                          table.rows.size() - kMostRows, table.name);
  }
  return text;
}

std::string TextIn(const Table& context, absl::string_view column) {
  return ValueText(context.rows[0][context.Find(column)]);
}

// Failures first: they are what a reader looks for.
Table ChecksTable(const std::vector<GateCheck>& checks) {
  std::vector<GateCheck> sorted;
  for (const auto outcome :
       {GateCheck::Outcome::kFailed, GateCheck::Outcome::kNotComparable,
        GateCheck::Outcome::kPassed}) {
    for (const GateCheck& check : checks) {
      if (check.outcome == outcome) sorted.push_back(check);
    }
  }
  return MakeTable("checks", "What came of each condition at each figure.",
                   CheckFields(), sorted);
}

}  // namespace

Results ComparisonResults(const ComparedFiles& files, const Results* base,
                          const Results* now, const Comparison& comparison,
                          const std::vector<GateCheck>& checks) {
  Table context =
      MakeSingle("context", "What was compared.", ContextFields(), &files);
  for (const char* column : {"model", "build_commit", "cpu", "target"}) {
    AddOf(base, "base_", column, "Of the base's context.", context);
    AddOf(now, "now_", column, "Of the other run's context.", context);
  }
  AddValue(context, "synthetic", Unit::kNone,
           "Whether the weights of the other run are generated.",
           now != nullptr && TextIn(now->tables[0], "synthetic") == "true");
  AddValue(context, "not_comparable", Unit::kNone,
           "Why errors cannot be compared; null if they can.",
           IfAny(comparison.not_comparable));
  AddValue(context, "times_not_comparable", Unit::kNone,
           "Why times cannot be compared; null if they can.",
           IfAny(comparison.times_not_comparable));
  return {"compare",
          {context, ChecksTable(checks),
           MakeTable("compared", "How much of each table is the same.",
                     TableFields(), comparison.tables),
           MakeTable("differences", "Figures that are not the same.",
                     DifferenceFields(), comparison.differences),
           MakeTable("speeds", "Speeds of plans that both runs timed.",
                     SpeedFields(), comparison.speeds)}};
}

std::string ComparisonReport(const Results& results) {
  const Table& context = results.tables[0];
  const std::string base = TextIn(context, "base");
  const bool synthetic = TextIn(context, "synthetic") == "true";
  std::string text = absl::StrFormat(
      "# %s\n\nNow: %s, model %s%s, commit %s, on %s\n",
      base.empty() ? "Gate" : "Comparison", TextIn(context, "now"),
      TextIn(context, "now_model"), synthetic ? " (SYNTHETIC weights)" : "",
      TextIn(context, "now_build_commit"), TextIn(context, "now_cpu"));
  if (!base.empty()) {
    absl::StrAppendFormat(&text, "\nBase: %s, model %s, commit %s, on %s\n",
                          base, TextIn(context, "base_model"),
                          TextIn(context, "base_build_commit"),
                          TextIn(context, "base_cpu"));
  }
  const auto why = [&](const char* what, const char* column) {
    const std::string reason = TextIn(context, column);
    if (reason.empty()) return;
    absl::StrAppend(&text, "\n**", what, " are not comparable**: ", reason,
                    ".\n");
  };
  why("Errors", "not_comparable");
  why("Times", "times_not_comparable");
  absl::StrAppend(&text,
                  Section("Gate", results.Find("checks"),
                          {"outcome", "line", "condition", "of", "metric",
                           "base", "now", "ratio", "p_value", "why"}),
                  Section("Figures", results.Find("compared"),
                          {"table", "figures", "same", "different",
                           "only_in_base", "only_in_now"}),
                  Section("Differences", results.Find("differences"),
                          {"table", "of", "metric", "base", "now", "ratio"}),
                  Section("Speed", results.Find("speeds"),
                          {"plan", "phase", "base_seconds", "now_seconds",
                           "speed_ratio", "p_value", "clear"}));
  return text;
}

}  // namespace ulpscope
