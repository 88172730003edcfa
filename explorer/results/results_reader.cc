#include "explorer/results/results_reader.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "explorer/results/schema.h"
#include "model/files/mapped_file.h"
#include "model/files/strict_json.h"
#include "nlohmann/json.hpp"

namespace ulpscope {
namespace {

using Json = nlohmann::json;

// As a message shows what was found.
std::string Shown(const Json& json) {
  std::string text = json.dump(-1, ' ', true, Json::error_handler_t::replace);
  constexpr size_t kMost = 40;
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

std::optional<double> NumberOf(const Json& json) {
  using Limits = std::numeric_limits<double>;
  if (json.is_number()) return json.get<double>();
  if (json == "NaN") return Limits::quiet_NaN();
  if (json == "Infinity") return Limits::infinity();
  if (json == "-Infinity") return -Limits::infinity();
  return std::nullopt;
}

std::optional<Value> IntegerOf(const Json& json) {
  if (json.is_number_unsigned()) {
    const uint64_t x = json.get<uint64_t>();
    if (x > uint64_t{INT64_MAX}) return Value(x);
    return Value(static_cast<int64_t>(x));
  }
  if (json.is_number_integer()) return Value(json.get<int64_t>());
  return std::nullopt;
}

// A list whose elements `of` reads.
template <typename T, typename Of>
std::optional<Value> ListOf(const Json& json, Of of) {
  if (!json.is_array()) return std::nullopt;
  std::vector<T> list;
  for (const Json& element : json) {
    const std::optional<T> x = of(element);
    if (!x.has_value()) return std::nullopt;
    list.push_back(*x);
  }
  return Value(std::move(list));
}

std::optional<std::string> TextOf(const Json& json) {
  if (!json.is_string()) return std::nullopt;
  return json.get<std::string>();
}

// None if it is no value of the column.
std::optional<Value> ValueOf(const Json& json, const Column& column) {
  if (json.is_null()) {
    return column.optional ? std::optional<Value>(Value()) : std::nullopt;
  }
  switch (column.type) {
    case Type::kBool:
      if (!json.is_boolean()) return std::nullopt;
      return Value(json.get<bool>());
    case Type::kInteger:
      return IntegerOf(json);
    case Type::kNumber: {
      const auto x = NumberOf(json);
      return x.has_value() ? std::optional<Value>(Value(*x)) : std::nullopt;
    }
    case Type::kText: {
      auto x = TextOf(json);
      return x.has_value() ? std::optional<Value>(Value(*std::move(x)))
                           : std::nullopt;
    }
    case Type::kIntegers:
      return ListOf<int64_t>(json, [](const Json& x) {
        const auto integer = IntegerOf(x);
        return integer.has_value() && std::holds_alternative<int64_t>(*integer)
                   ? std::optional<int64_t>(std::get<int64_t>(*integer))
                   : std::nullopt;
      });
    case Type::kNumbers:
      return ListOf<double>(json, &NumberOf);
    case Type::kTexts:
      return ListOf<std::string>(json, &TextOf);
  }
  return std::nullopt;
}

absl::Status ReadRow(const Json& json, const std::string& where, Table& table) {
  const auto error = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
  };
  if (!json.is_object()) {
    return error(absl::StrCat("expected an object, found ", Shown(json)));
  }
  std::vector<Value> row;
  for (const Column& column : table.columns) {
    const auto found = json.find(column.name);
    if (found == json.end()) {
      return error(absl::StrCat("\"", column.name, "\" is missing"));
    }
    auto value = ValueOf(*found, column);
    if (!value.has_value()) {
      return error(absl::StrCat("\"", column.name, "\": ", Shown(*found),
                                " is no value of it"));
    }
    row.push_back(*std::move(value));
  }
  if (json.size() != table.columns.size()) {
    for (const auto& [key, value] : json.items()) {
      if (!table.Has(key))
        return error(absl::StrCat("unknown key ", Shown(key)));
    }
  }
  table.rows.push_back(std::move(row));
  return absl::OkStatus();
}

absl::Status ReadTable(const Json& json, const std::string& where,
                       Table& table) {
  if (table.single) {
    return json.is_null() ? absl::OkStatus() : ReadRow(json, where, table);
  }
  if (!json.is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": expected an array, found ", Shown(json)));
  }
  for (size_t r = 0; r < json.size(); ++r) {
    const absl::Status status =
        ReadRow(json[r], absl::StrCat(where, "[", r, "]"), table);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Results> ParseResults(absl::string_view text,
                                     absl::string_view file,
                                     absl::Span<const Results> schemas) {
  const auto json = ParseJsonObject(text, file);
  if (!json.ok()) return json.status();
  const auto error = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", what));
  };
  const Json name = json->value("schema", Json());
  const Json version = json->value("version", Json());
  // What a page that lacks rows saves: a gate or a comparison would take them
  // for gone.
  if (json->contains(kPartOf)) {
    return error(absl::StrCat("expected a whole results.json, found \"",
                              kPartOf,
                              "\": it is a part, of a page that has some rows "
                              "alone"));
  }
  std::string expected;
  for (const Results& schema : schemas) {
    absl::StrAppend(&expected, expected.empty() ? "" : ", ", "\"",
                    SchemaName(schema), "\"");
    if (name != SchemaName(schema)) continue;
    if (version != kSchemaVersion) {
      return error(absl::StrCat("\"version\": expected ", kSchemaVersion,
                                ", found ", Shown(version)));
    }
    Results results = schema;
    for (Table& table : results.tables) {
      table.rows.clear();
      const auto found = json->find(table.name);
      if (found == json->end()) {
        return error(absl::StrCat("\"", table.name, "\" is missing"));
      }
      const absl::Status status = ReadTable(
          *found, absl::StrCat(file, ": \"", table.name, "\""), table);
      if (!status.ok()) return status;
    }
    if (results.tables[0].rows.empty()) {
      return error("\"context\": expected an object, found null");
    }
    return results;
  }
  return error(absl::StrCat("\"schema\": expected one of ", expected,
                            ", found ", Shown(name)));
}

absl::StatusOr<Results> ReadResults(const std::string& path,
                                    absl::Span<const Results> schemas) {
  std::error_code ignored;
  const std::string file = std::filesystem::is_directory(path, ignored)
                               ? absl::StrCat(path, "/results.json")
                               : path;
  const auto mapped = MappedFile::Open(file);
  if (!mapped.ok()) return mapped.status();
  return ParseResults((*mapped)->text(), file, schemas);
}

}  // namespace ulpscope
