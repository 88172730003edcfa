#include "explorer/results/results_json.h"

#include <cmath>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "explorer/results/schema.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::ordered_json;

Json JsonOf(double x) {
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x > 0 ? "Infinity" : "-Infinity";
  return x;
}

Json JsonOf(const Value& value) {
  return std::visit(
      [](const auto& x) -> Json {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return nullptr;
        } else if constexpr (std::is_same_v<T, double>) {
          return JsonOf(x);
        } else if constexpr (std::is_same_v<T, std::vector<double>>) {
          Json list = Json::array();
          for (const double element : x) list.push_back(JsonOf(element));
          return list;
        } else {
          return x;
        }
      },
      value);
}

std::string Dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// A row a line, so that a diff shows the rows that changed.
void WriteTable(const Table& table, TextSink sink) {
  if (table.single && table.rows.empty()) return sink("null");
  const RowJson json(table);
  const char* before = table.single ? "" : "[\n  ";
  for (const std::vector<Value>& row : table.rows) {
    sink(before);
    sink(json.Of(row));
    before = ",\n  ";
  }
  if (!table.single) sink(table.rows.empty() ? "[]" : "\n ]");
}

Json SchemaOf(Type type) {
  const Json number = {
      {"anyOf",
       {{{"type", "number"}}, {{"enum", {"NaN", "Infinity", "-Infinity"}}}}}};
  switch (type) {
    case Type::kBool:
      return {{"type", "boolean"}};
    case Type::kInteger:
      return {{"type", "integer"}};
    case Type::kNumber:
      return number;
    case Type::kText:
      return {{"type", "string"}};
    case Type::kIntegers:
      return {{"type", "array"}, {"items", {{"type", "integer"}}}};
    case Type::kNumbers:
      return {{"type", "array"}, {"items", number}};
    case Type::kTexts:
      return {{"type", "array"}, {"items", {{"type", "string"}}}};
  }
  return nullptr;
}

Json SchemaOf(const Column& column) {
  Json schema = {{"description", column.about}};
  if (column.unit != Unit::kNone) {
    schema["unit"] = std::string(UnitName(column.unit));
  }
  const Json of_type = SchemaOf(column.type);
  if (column.optional) {
    schema["anyOf"] = {of_type, {{"type", "null"}}};
  } else {
    schema.update(of_type);
  }
  return schema;
}

Json SchemaOf(const Table& table) {
  Json row = {{"type", "object"}, {"additionalProperties", false}};
  row["properties"] = Json::object();
  row["required"] = Json::array();
  for (const Column& column : table.columns) {
    row["properties"][column.name] = SchemaOf(column);
    row["required"].push_back(column.name);
  }
  Json schema = {{"description", table.about}};
  if (table.single) {
    schema["anyOf"] = {row, {{"type", "null"}}};
  } else {
    schema["type"] = "array";
    schema["items"] = row;
  }
  return schema;
}

}  // namespace

RowJson::RowJson(const Table& table) {
  for (const Column& column : table.columns) {
    keys_.push_back(
        absl::StrCat(keys_.empty() ? "{" : ",", Dump(column.name), ":"));
  }
}

std::string RowJson::Of(const std::vector<Value>& row) const {
  std::string text;
  for (size_t c = 0; c < row.size(); ++c) {
    absl::StrAppend(&text, keys_[c], Dump(JsonOf(row[c])));
  }
  return text + "}";
}

void WriteResultsJson(const Results& results, TextSink sink) {
  sink(absl::StrCat("{\n \"schema\": ", Dump(SchemaName(results)),
                    ",\n \"version\": ", kSchemaVersion));
  for (const Table& table : results.tables) {
    sink(absl::StrCat(",\n ", Dump(table.name), ": "));
    WriteTable(table, sink);
  }
  sink("\n}\n");
}

std::string ResultsJson(const Results& results) {
  return WholeText([&](TextSink sink) { WriteResultsJson(results, sink); });
}

std::string JsonSchema(const Results& results) {
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                 {"title", SchemaName(results)},
                 {"type", "object"},
                 {"additionalProperties", false}};
  schema["properties"] = {{"schema", {{"const", SchemaName(results)}}},
                          {"version", {{"const", kSchemaVersion}}}};
  schema["required"] = {"schema", "version"};
  for (const Table& table : results.tables) {
    schema["properties"][table.name] = SchemaOf(table);
    schema["required"].push_back(table.name);
  }
  return Dump(schema, 1) + "\n";
}

}  // namespace ulpscope
