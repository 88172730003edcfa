#include "explorer/report/markdown.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "explorer/report/figures.h"
#include "explorer/results/schema.h"

namespace ulpscope {
namespace {

constexpr char kSpread[] = "±";

std::string NumberText(Unit unit, double x) {
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x > 0 ? "Infinity" : "-Infinity";
  switch (unit) {
    case Unit::kActivation:
      // Fixed digits as in the seed report, unless they would show nothing.
      return x != 0 && std::fabs(x) < 1e-4 ? Scientific(x)
                                           : absl::StrFormat("%.6f", x);
    case Unit::kRelative:
      return Scientific(x);
    case Unit::kNats:
      return absl::StrFormat("%.2e", x);
    case Unit::kShare:
      return Percent(x);
    case Unit::kRatio:
      return std::fabs(x) < 1000 ? absl::StrFormat("%.3fx", x)
                                 : absl::StrFormat("%.3gx", x);
    case Unit::kTokensPerSecond:
      return absl::StrFormat("%.1f", x);
    case Unit::kNone:
    case Unit::kUlps:
    case Unit::kBits:
    case Unit::kSeconds:
    case Unit::kBytes:
      break;
  }
  return Number(x);
}

struct Text {
  Unit unit;

  std::string operator()(std::monostate) const { return "-"; }
  std::string operator()(bool x) const { return x ? "*" : ""; }
  std::string operator()(int64_t x) const { return absl::StrCat(x); }
  std::string operator()(uint64_t x) const { return absl::StrCat(x); }
  std::string operator()(double x) const { return NumberText(unit, x); }
  // A bar would end the cell.
  std::string operator()(const std::string& x) const {
    return absl::StrReplaceAll(x, {{"|", "\\|"}});
  }
  template <typename T>
  std::string operator()(const std::vector<T>& list) const {
    return absl::StrJoin(list, ", ", [this](std::string* out, const T& x) {
      absl::StrAppend(out, (*this)(x));
    });
  }
};

bool IsNumber(const Column& column) {
  return column.type == Type::kInteger || column.type == Type::kNumber;
}

}  // namespace

std::string CellText(const Column& column, const Value& value) {
  return std::visit(Text{column.unit}, value);
}

std::string Markdown(
    const Table& table, const std::vector<std::string>& columns,
    const std::function<bool(const std::vector<Value>&)>& shown) {
  // Of a column and of its spread, which may be the same.
  std::vector<std::pair<size_t, size_t>> indices;
  std::string text = "|", rule = "|";
  for (const std::string& name : columns) {
    const std::pair<std::string, std::string> names =
        absl::StrSplit(name, absl::MaxSplits(kSpread, 1));
    const size_t column = table.Find(names.first);
    indices.emplace_back(
        column, names.second.empty() ? column : table.Find(names.second));
    const Column& c = table.columns[column];
    absl::StrAppend(&text, " ", c.title.empty() ? c.name : c.title, " |");
    rule += IsNumber(c) ? "--:|" : "---|";
  }
  absl::StrAppend(&text, "\n", rule, "\n");
  for (const std::vector<Value>& row : table.rows) {
    if (shown && !shown(row)) continue;
    text += "|";
    for (const auto& [column, spread] : indices) {
      absl::StrAppend(&text, " ", CellText(table.columns[column], row[column]));
      if (spread != column &&
          !std::holds_alternative<std::monostate>(row[spread])) {
        absl::StrAppend(&text, " ", kSpread, " ",
                        CellText(table.columns[spread], row[spread]));
      }
      text += " |";
    }
    text += "\n";
  }
  return text;
}

}  // namespace ulpscope
