#include "explorer/report/report_page.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "explorer/error/massive.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/page_cut.h"
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

Json JsonOf(const std::optional<double>& x) {
  if (!x.has_value()) return nullptr;
  if (std::isnan(*x)) return "NaN";
  if (std::isinf(*x)) return *x > 0 ? "Infinity" : "-Infinity";
  return *x;
}

Json JsonOf(const std::optional<size_t>& x) {
  return x.has_value() ? Json(*x) : Json();
}

// Of a sweep of which plans are left out: how many there are, and the others.
Json PlansAbout(const PageCut& cut) {
  Json groups = Json::array();
  for (const LeftOutPlans& group : cut.groups) {
    groups.push_back({{"first_rank", JsonOf(group.first_rank)},
                      {"last_rank", JsonOf(group.last_rank)},
                      {"plans", group.plans},
                      {"timed", group.timed},
                      {"least_score", JsonOf(group.least_score)},
                      {"median_score", JsonOf(group.median_score)},
                      {"largest_score", JsonOf(group.largest_score)}});
  }
  return {{"plans", cut.plans},
          {"measured", cut.measured},
          {"timed", cut.timed},
          {"front", cut.front},
          {"fastest", cut.fastest.empty() ? Json() : Json(cut.fastest)},
          {"not_timed", cut.not_timed},
          {"left_out", groups}};
}

// What the page says of its results: what the tables and their columns mean,
// from which size on it marks what is peculiar, and what was left out.
std::string About(const PageCut& cut) {
  Json about = {{"left_out", cut.left_out},
                {"named_cancellation", kNamedCancellation},
                {"massive_magnitude", kMassiveMagnitude}};
  if (!cut.groups.empty()) about["all_plans"] = PlansAbout(cut);
  for (const Table& table : cut.results.tables) {
    Json columns = Json::object();
    for (const Column& column : table.columns) {
      Json& of = columns[column.name];
      of = {{"about", column.about}, {"type", TypeName(column.type)}};
      if (!column.title.empty()) of["title"] = column.title;
      if (column.unit != Unit::kNone) {
        of["unit"] = std::string(UnitName(column.unit));
      }
    }
    Json& of_table = about["tables"][table.name];
    of_table = {{"about", table.about}, {"columns", columns}};
    const auto all = cut.rows.find(table.name);
    if (all != cut.rows.end()) of_table["rows"] = all->second;
  }
  return absl::StrReplaceAll(Escaped(about.dump()), {{"&", "\\u0026"}});
}

}  // namespace

bool HasPage(const Results& results) {
  return results.mode == "sweep" || results.mode == "attribute" ||
         results.mode == "diagnose" || results.mode == "trace_pair" ||
         results.mode == "recommend";
}

std::string ReportPage(const Results& results, size_t most_bytes) {
  const PageCut cut = CutToFit(results, most_bytes);
  return absl::StrReplaceAll(kPageText,
                             {{"@RESULTS@", Escaped(ResultsJson(cut.results))},
                              {"@ABOUT@", About(cut)}});
}

}  // namespace ulpscope
