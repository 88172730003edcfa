#include "explorer/report/report_page.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "explorer/error/massive.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/page_text.h"
#include "explorer/results/results_json.h"
#include "explorer/results/schema.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::ordered_json;

// JSON that stands in HTML: it has "<" and "&" in strings only.
std::string Escaped(const std::string& json) {
  return absl::StrReplaceAll(json, {{"<", "\\u003c"}});
}

const char* TypeName(Type type) {
  switch (type) {
    case Type::kBool:
      return "bool";
    case Type::kInteger:
      return "integer";
    case Type::kNumber:
      return "number";
    case Type::kText:
      return "text";
    case Type::kIntegers:
      return "integers";
    case Type::kNumbers:
      return "numbers";
    case Type::kTexts:
      return "texts";
  }
  return "";
}

// What the page says of its results: what the tables and their columns mean,
// from which size on it marks what is peculiar, and what was left out.
std::string About(const Results& results, const std::string& left_out) {
  Json about = {{"left_out", left_out},
                {"named_cancellation", kNamedCancellation},
                {"massive_magnitude", kMassiveMagnitude}};
  for (const Table& table : results.tables) {
    Json columns = Json::object();
    for (const Column& column : table.columns) {
      Json& of = columns[column.name];
      of = {{"about", column.about}, {"type", TypeName(column.type)}};
      if (!column.title.empty()) of["title"] = column.title;
      if (column.unit != Unit::kNone) {
        of["unit"] = std::string(UnitName(column.unit));
      }
    }
    about["tables"][table.name] = {{"about", table.about},
                                   {"columns", columns}};
  }
  return absl::StrReplaceAll(Escaped(about.dump()), {{"&", "\\u0026"}});
}

Table* FindTable(Results& results, absl::string_view name) {
  for (Table& table : results.tables) {
    if (table.name == name) return &table;
  }
  return nullptr;
}

// Tables of what a plan is in detail.
constexpr absl::string_view kDetails[] = {"layers", "window_errors",
                                          "token_percentiles", "tokens"};

// Takes the details of the lower-ranked plans away, so that about `most_bytes`
// of results.json are left; returns a sentence on what is gone.
std::string ShrinkTo(size_t most_bytes, size_t bytes, Results& results) {
  Table* plans = FindTable(results, "plans");
  if (plans == nullptr) return "";
  std::vector<std::pair<Table*, std::vector<std::vector<Value>>>> details;
  for (const absl::string_view name : kDetails) {
    Table* const table = FindTable(results, name);
    if (table == nullptr) continue;
    details.emplace_back(table, std::move(table->rows));
    table->rows.clear();
  }
  const size_t rest = ResultsJson(results).size();
  const size_t count = plans->rows.size();
  const size_t room = most_bytes - std::min(most_bytes, rest);
  const size_t kept =
      std::min(count, count * room / std::max<size_t>(bytes - rest, 1));
  std::set<std::string> names;
  for (size_t i = 0; i < kept; ++i) {
    names.insert(std::get<std::string>(plans->rows[i][plans->Find("plan")]));
  }
  for (auto& [table, rows] : details) {
    const size_t plan = table->Find("plan");
    for (std::vector<Value>& row : rows) {
      if (names.count(std::get<std::string>(row[plan])) == 0) continue;
      table->rows.push_back(std::move(row));
    }
  }
  if (kept == count) return "";
  return absl::StrFormat(
      "results.json, in this page's folder, has %.1f MB. Here are the layers "
      "and tokens of the %d plans that are ranked first; those of the other %d "
      "are left out.",
      static_cast<double>(bytes) / 1e6, kept, count - kept);
}

}  // namespace

bool HasPage(const Results& results) {
  return results.mode == "sweep" || results.mode == "attribute" ||
         results.mode == "diagnose" || results.mode == "recommend";
}

std::string ReportPage(const Results& results, size_t most_bytes) {
  std::string json = ResultsJson(results);
  std::string left_out;
  if (json.size() > most_bytes) {
    Results fewer = results;
    left_out = ShrinkTo(most_bytes, json.size(), fewer);
    if (!left_out.empty()) json = ResultsJson(fewer);
  }
  return absl::StrReplaceAll(
      kPageText,
      {{"@RESULTS@", Escaped(json)}, {"@ABOUT@", About(results, left_out)}});
}

}  // namespace ulpscope
