#include "explorer/results/results_csv.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "explorer/results/schema.h"

namespace ulpscope {
namespace {

struct TextOf {
  std::string operator()(std::monostate) const { return ""; }
  std::string operator()(bool x) const { return x ? "true" : "false"; }
  std::string operator()(int64_t x) const { return absl::StrCat(x); }
  std::string operator()(uint64_t x) const { return absl::StrCat(x); }
  std::string operator()(double x) const {
    if (std::isnan(x)) return "NaN";
    if (std::isinf(x)) return x > 0 ? "Infinity" : "-Infinity";
    return absl::StrFormat("%.17g", x);
  }
  std::string operator()(const std::string& x) const { return x; }
  template <typename T>
  std::string operator()(const std::vector<T>& list) const {
    std::vector<std::string> texts;
    for (const T& x : list) texts.push_back((*this)(x));
    return absl::StrJoin(texts, " ");
  }
};

}  // namespace

std::string ValueText(const Value& value) {
  return std::visit(TextOf(), value);
}

std::string CsvField(absl::string_view text) {
  if (text.find_first_of(",\"\r\n") == absl::string_view::npos) {
    return std::string(text);
  }
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

void WriteResultsCsv(const Table& context, const Table& table, TextSink sink) {
  std::vector<std::string> head, start;
  for (const size_t c : RunColumns(context)) {
    head.push_back(context.columns[c].name);
    start.push_back(CsvField(ValueText(context.rows[0][c])));
  }
  for (const Column& column : table.columns) head.push_back(column.name);
  sink(absl::StrJoin(head, ",") + "\n");
  for (const std::vector<Value>& row : table.rows) {
    std::vector<std::string> fields = start;
    for (const Value& value : row) fields.push_back(CsvField(ValueText(value)));
    sink(absl::StrJoin(fields, ",") + "\n");
  }
}

std::string ResultsCsv(const Table& context, const Table& table) {
  return WholeText(
      [&](TextSink sink) { WriteResultsCsv(context, table, sink); });
}

}  // namespace ulpscope
