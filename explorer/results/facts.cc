#include "explorer/results/facts.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/schema.h"
#include "model/files/strict_json.h"

namespace ulpscope {
namespace {

// A field of the long format.
struct Entry {
  std::string name;
  Type type;    // of its column
  Value value;  // a number, a text, or none
};

// A value as a number if it is one, else as a text.
bool IsNumber(const Value& value) {
  if (const double* x = std::get_if<double>(&value)) return std::isfinite(*x);
  return std::holds_alternative<bool>(value) ||
         std::holds_alternative<int64_t>(value) ||
         std::holds_alternative<uint64_t>(value);
}

std::string NumberText(const Value& value) {
  if (const bool* x = std::get_if<bool>(&value)) return *x ? "1" : "0";
  return ValueText(value);
}

// Calls `add` with the fields of each fact.
void ForEachRow(const Results& results,
                absl::FunctionRef<void(const std::vector<Entry>&)> add) {
  std::vector<Entry> fields;
  const Table& context = results.tables[0];
  for (const size_t c : RunColumns(context)) {
    fields.push_back({context.columns[c].name, context.columns[c].type,
                      context.rows.empty() ? Value() : context.rows[0][c]});
  }
  const size_t table = fields.size();
  fields.push_back({"table", Type::kText, {}});
  for (const Key& key : Keys()) {
    fields.push_back({std::string(key.name), key.type, {}});
  }
  const size_t index = fields.size();
  fields.push_back({"index", Type::kInteger, {}});
  fields.push_back({"metric", Type::kText, {}});
  fields.push_back({"unit", Type::kText, {}});
  fields.push_back({"value", Type::kNumber, {}});
  fields.push_back({"text", Type::kText, {}});
  ForEachFact(results, [&](const Fact& fact) {
    fields[table].value = fact.table->name;
    for (size_t f = table + 1; f < index; ++f) fields[f].value = Value();
    for (const size_t c : fact.table->KeyColumns()) {
      for (size_t f = table + 1; f < index; ++f) {
        if (fields[f].name != fact.table->columns[c].name) continue;
        fields[f].value = fact.table->rows[fact.row][c];
      }
    }
    fields[index].value =
        fact.index == 0 ? Value() : Value(static_cast<int64_t>(fact.index));
    fields[index + 1].value = fact.column->name;
    fields[index + 2].value = std::string(UnitName(fact.column->unit));
    const bool is_number = IsNumber(fact.value);
    const bool is_none = std::holds_alternative<std::monostate>(fact.value);
    fields[index + 3].value = is_number ? fact.value : Value();
    fields[index + 4].value =
        is_number || is_none ? Value() : Value(ValueText(fact.value));
    add(fields);
  });
}

absl::string_view SqlType(Type type) {
  switch (type) {
    case Type::kBool:
    case Type::kInteger:
      return "INTEGER";
    case Type::kNumber:
      return "DOUBLE PRECISION";
    default:
      return "TEXT";
  }
}

}  // namespace

void ForEachFact(const Results& results,
                 absl::FunctionRef<void(const Fact&)> take) {
  for (size_t t = 1; t < results.tables.size(); ++t) {
    const Table& table = results.tables[t];
    for (size_t r = 0; r < table.rows.size(); ++r) {
      for (size_t c = 0; c < table.columns.size(); ++c) {
        const Column& column = table.columns[c];
        if (!table.single && column.role() == Role::kKey) continue;
        const auto add_list = [&](const auto& list) {
          for (size_t i = 0; i < list.size(); ++i) {
            Fact fact = {&table, r, &column, i + 1, {}};
            fact.value = list[i];
            take(fact);
          }
        };
        const Value& value = table.rows[r][c];
        if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
          add_list(*numbers);
        } else if (const auto* integers =
                       std::get_if<std::vector<int64_t>>(&value)) {
          add_list(*integers);
        } else {
          take({&table, r, &column, 0, value});
        }
      }
    }
  }
}

void WriteFactsCsv(const Results& results, TextSink sink) {
  bool is_first = true;
  ForEachRow(results, [&](const std::vector<Entry>& fields) {
    std::string text;
    if (is_first) {
      for (const Entry& field : fields) {
        absl::StrAppend(&text, text.empty() ? "" : ",", field.name);
      }
      text += "\n";
    }
    is_first = false;
    for (size_t i = 0; i < fields.size(); ++i) {
      const Value& value = fields[i].value;
      absl::StrAppend(
          &text, i == 0 ? "" : ",",
          IsNumber(value) ? NumberText(value) : CsvField(ValueText(value)));
    }
    sink(text + "\n");
  });
}

void WriteFactsJsonl(const Results& results, TextSink sink) {
  ForEachRow(results, [&](const std::vector<Entry>& fields) {
    std::string text;
    const char* before = "{";
    for (const Entry& field : fields) {
      const bool is_none = std::holds_alternative<std::monostate>(field.value);
      if (is_none && field.name != "value" && field.name != "text") continue;
      absl::StrAppend(&text, before, JsonString(field.name), ":",
                      is_none ? "null"
                      : IsNumber(field.value)
                          ? NumberText(field.value)
                          : JsonString(ValueText(field.value)));
      before = ",";
    }
    sink(text + "}\n");
  });
}

void WriteFactsSql(const Results& results, TextSink sink) {
  bool is_first = true;
  ForEachRow(results, [&](const std::vector<Entry>& fields) {
    std::string text;
    if (is_first) {
      const char* before = "CREATE TABLE IF NOT EXISTS results (";
      for (const Entry& field : fields) {
        absl::StrAppend(&text, before, "\"", field.name, "\" ",
                        SqlType(field.type));
        before = ", ";
      }
      text += ");\nBEGIN;\n";
    }
    is_first = false;
    const char* before = "INSERT INTO results VALUES (";
    for (const Entry& field : fields) {
      if (std::holds_alternative<std::monostate>(field.value)) {
        absl::StrAppend(&text, before, "NULL");
      } else if (IsNumber(field.value)) {
        absl::StrAppend(&text, before, NumberText(field.value));
      } else {
        absl::StrAppend(
            &text, before, "'",
            absl::StrReplaceAll(ValueText(field.value), {{"'", "''"}}), "'");
      }
      before = ",";
    }
    sink(text + ");\n");
  });
  if (!is_first) sink("COMMIT;\n");
}

}  // namespace ulpscope
