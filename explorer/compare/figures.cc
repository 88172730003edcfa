#include "explorer/compare/figures.h"

#include <cstddef>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/results/facts.h"
#include "explorer/results/results_csv.h"

namespace ulpscope {
namespace {

// Empty if the two contexts agree in these columns, as far as they have them.
std::string FirstDifference(const Results& base, const Results& now,
                            std::vector<absl::string_view> columns) {
  const Table& a = base.tables[0];
  const Table& b = now.tables[0];
  for (const absl::string_view column : columns) {
    if (!a.Has(column) || !b.Has(column)) continue;
    const Value& in_a = a.rows[0][a.Find(column)];
    const Value& in_b = b.rows[0][b.Find(column)];
    if (SameBits(in_a, in_b)) continue;
    const auto shown = [](const Value& value) {
      constexpr size_t kMost = 60;
      const std::string text = ValueText(value);
      return text.size() > kMost ? text.substr(0, kMost) + "..." : text;
    };
    return absl::StrCat("their ", column, " differs: ", shown(in_a), " and ",
                        shown(in_b));
  }
  return "";
}

}  // namespace

std::string Figure::of() const {
  std::string text;
  for (const auto& [key, text_of] : keys) {
    absl::StrAppend(&text, text.empty() ? "" : " ", key, "=", text_of);
  }
  return text;
}

std::vector<Figure> FiguresOf(const Results& results) {
  std::vector<Figure> figures;
  std::map<std::string, size_t> seen;  // how often each name
  ForEachFact(results, [&](const Fact& fact) {
    Figure figure = {fact.table, fact.column, {}, "", fact.value};
    const std::vector<Value>& row = fact.table->rows[fact.row];
    for (const size_t c : fact.table->KeyColumns()) {
      if (std::holds_alternative<std::monostate>(row[c])) continue;
      figure.keys.emplace_back(fact.table->columns[c].name, ValueText(row[c]));
    }
    if (fact.index != 0) {
      figure.keys.emplace_back("index", absl::StrCat(fact.index));
    }
    const auto name_it = [&figure] {
      const std::string of = figure.of();
      figure.name = absl::StrCat(figure.table->name, of.empty() ? "" : " ", of,
                                 " ", figure.column->name);
    };
    name_it();
    const size_t times = ++seen[figure.name];
    if (times > 1) {
      figure.keys.emplace_back("row", absl::StrCat(times));
      name_it();
    }
    figures.push_back(std::move(figure));
  });
  return figures;
}

std::map<absl::string_view, const Figure*> ByName(
    const std::vector<Figure>& figures) {
  std::map<absl::string_view, const Figure*> by_name;
  for (const Figure& figure : figures) by_name[figure.name] = &figure;
  return by_name;
}

bool IsDeterministic(const Figure& figure) {
  return figure.column->role() == Role::kFigure &&
         figure.table->name != "sentences";
}

bool SameBits(const Value& a, const Value& b) {
  if (a.index() != b.index()) return false;
  const double* const x = std::get_if<double>(&a);
  if (x == nullptr) return a == b;
  const double y = std::get<double>(b);
  // Of a NaN no bit but that it is one is written to files.
  return std::memcmp(x, &y, sizeof(y)) == 0 || (*x != *x && y != y);
}

std::string WhyNotComparable(const Results& base, const Results& now) {
  if (base.mode != now.mode) {
    return absl::StrCat("one is of --", base.mode, ", the other of --",
                        now.mode);
  }
  const auto has_fingerprint = [](const Results& results) {
    const Table& context = results.tables[0];
    return context.Has("model_fingerprint") &&
           !ValueText(context.rows[0][context.Find("model_fingerprint")])
                .empty();
  };
  // Of a model without one its name has to do. A sweep's plans are told apart
  // by keys; elsewhere there is one.
  return FirstDifference(
      base, now,
      {has_fingerprint(base) && has_fingerprint(now) ? "model_fingerprint"
                                                     : "model",
       "token", "prompt", "tokens", "plan"});
}

std::string WhyTimesNotComparable(const Results& base, const Results& now) {
  return FirstDifference(base, now, {"cpu", "target", "threads"});
}

TimedRuns::TimedRuns(const Results& results) {
  for (const Table& table : results.tables) {
    if (table.name != "timings") continue;
    const size_t plans = table.Find("plan"), phases = table.Find("phase"),
                 values = table.Find("seconds");
    for (const std::vector<Value>& row : table.rows) {
      if (const double* x = std::get_if<double>(&row[values])) {
        runs_[{ValueText(row[plans]), ValueText(row[phases])}].push_back(*x);
      }
    }
  }
}

const std::vector<double>& TimedRuns::Of(const std::string& plan,
                                         const std::string& phase) const {
  static const std::vector<double>& none = *new std::vector<double>;
  const auto found = runs_.find({plan, phase});
  return found == runs_.end() ? none : found->second;
}

}  // namespace ulpscope
