#ifndef EXPLORER_RESULTS_SCHEMA_H_
#define EXPLORER_RESULTS_SCHEMA_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

// The one schema of results. A kind of row (a plan, a layer of a plan, a cell,
// ...) is declared once: the fields that it has, with their names, units and
// accessors. JSON, CSV, the tables of the terminal and the schema files of
// docs/schema are all made from that.
//
// Results are flat tables, as a database has them: what belongs to a plan or a
// cell names it. NaN and infinities are values; what was not measured, or does
// not apply, is none.

// Raised when a field changes its name or its meaning, or goes.
inline constexpr int kSchemaVersion = 2;

// What a number is of. It decides how tables show it.
enum class Unit {
  kNone,             // of names, counts and indices
  kActivation,       // what the model's activations are in
  kRelative,         // an error, relative to what it is an error of
  kShare,            // of 1
  kRatio,            // a factor
  kNats,             //
  kUlps,             // spacings of the reference's type
  kBits,             //
  kSeconds,          //
  kTokensPerSecond,  //
  kBytes,            //
};

absl::string_view UnitName(Unit unit);  // "nats"; empty for kNone

// The type of a field's values; lists are of values that are not absent.
enum class Type {
  kBool,
  kInteger,
  kNumber,
  kText,
  kIntegers,
  kNumbers,
  kTexts
};

// monostate: not measured, or does not apply. uint64_t: what int64_t does not
// hold.
using Value = std::variant<std::monostate, bool, int64_t, uint64_t, double,
                           std::string, std::vector<int64_t>,
                           std::vector<double>, std::vector<std::string>>;

// What a column's values are.
enum class Role {
  kKey,     // what its row is of, together with the table's other keys
  kFigure,  // what was found
  kTime     // a figure that depends on the machine and on the moment
};

struct Column {
  std::string name;   // the key of JSON and CSV: "kl_nats"
  std::string title;  // the heading of tables: "KL (nats)"
  Unit unit = Unit::kNone;
  std::string about;  // what it says, a line of the schema file
  Type type = Type::kText;
  bool optional = false;  // whether it may be none

  // By its name, type and unit, which mean the same in every table: a number
  // "layer" or a text "op" is a key.
  Role role() const;
};

Column MakeColumn(absl::string_view name, absl::string_view title, Unit unit,
                  absl::string_view about, Type type, bool optional);

// The columns that are keys, in every table that has them.
struct Key {
  absl::string_view name;
  Type type;
};
absl::Span<const Key> Keys();

// Rows of one kind.
struct Table {
  std::string name;  // the key of JSON: "plans"
  std::string about;
  // Whether there is one row at most: an object of JSON rather than an array.
  bool single = false;
  std::vector<Column> columns;
  std::vector<std::vector<Value>> rows;  // [rows][columns]

  bool Has(absl::string_view column) const;

  // The index of a column; there is one of that name.
  size_t Find(absl::string_view column) const;

  // Which columns say what a row is of; none of a single row.
  std::vector<size_t> KeyColumns() const;
};

// Which columns of a context say what was run, where and by which build.
std::vector<size_t> RunColumns(const Table& context);

// All that one run has found.
struct Results {
  std::string mode;           // "sweep"
  std::vector<Table> tables;  // the first is the context: what was run, where

  bool Has(absl::string_view table) const;

  // The table of that name; there is one.
  const Table& Find(absl::string_view table) const;
};

// "ulpscope/sweep", as JSON has it.
std::string SchemaName(const Results& results);

namespace schema_internal {

template <typename T>
constexpr bool kIsOptional = false;
template <typename T>
constexpr bool kIsOptional<std::optional<T>> = true;

template <typename T>
constexpr Type TypeOf() {
  if constexpr (kIsOptional<T>) return TypeOf<typename T::value_type>();
  if constexpr (std::is_same_v<T, bool>) return Type::kBool;
  if constexpr (std::is_integral_v<T>) return Type::kInteger;
  if constexpr (std::is_floating_point_v<T>) return Type::kNumber;
  if constexpr (std::is_same_v<T, std::vector<double>>) return Type::kNumbers;
  if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    return Type::kTexts;
  }
  if constexpr (std::is_same_v<T, std::vector<size_t>> ||
                std::is_same_v<T, std::vector<int32_t>>) {
    return Type::kIntegers;
  }
  return Type::kText;
}

template <typename T>
Value ToValue(const T& x) {
  if constexpr (kIsOptional<T>) {
    return x.has_value() ? ToValue(*x) : Value();
  } else if constexpr (TypeOf<T>() == Type::kBool) {
    return x;
  } else if constexpr (TypeOf<T>() == Type::kInteger) {
    if constexpr (std::is_unsigned_v<T>) {
      if (x > uint64_t{INT64_MAX}) return static_cast<uint64_t>(x);
    }
    return static_cast<int64_t>(x);
  } else if constexpr (TypeOf<T>() == Type::kNumber) {
    return static_cast<double>(x);
  } else if constexpr (TypeOf<T>() == Type::kIntegers) {
    return std::vector<int64_t>(x.begin(), x.end());
  } else if constexpr (TypeOf<T>() == Type::kText) {
    return std::string(x);
  } else {
    return x;
  }
}

}  // namespace schema_internal

// One field of rows that are made of T.
template <typename T>
struct Field {
  template <typename Get>
  using ResultOf = std::decay_t<std::invoke_result_t<Get, const T&>>;

  Column column;
  std::function<Value(const T&)> get;

  // `get` returns a bool, an integer, a double, a text or a vector of one of
  // them, or a std::optional of these. Without a title, tables show the name.
  template <typename Get>
  Field(absl::string_view name, absl::string_view title, Unit unit,
        absl::string_view about, Get get_in)
      : Field(MakeColumn(name, title, unit, about,
                         schema_internal::TypeOf<ResultOf<Get>>(),
                         schema_internal::kIsOptional<ResultOf<Get>>),
              [get_in](const T& row) {
                return schema_internal::ToValue<ResultOf<Get>>(
                    std::invoke(get_in, row));
              }) {}

  Field(Column column_in, std::function<Value(const T&)> get_in)
      : column(std::move(column_in)), get(std::move(get_in)) {}
};

template <typename T>
using Fields = std::vector<Field<T>>;

// Appends the fields of a part of T, with a prefix to their names and titles.
// `part` returns a pointer to it; null if there is none, and so none of its
// fields, which it may only do if `optional`.
template <typename T, typename U, typename Part>
void AppendPart(Fields<T>& fields, absl::string_view prefix,
                const Fields<U>& of, bool optional, Part part) {
  for (const Field<U>& field : of) {
    Column column = field.column;
    column.name = absl::StrCat(prefix, column.name);
    column.optional = column.optional || optional;
    fields.emplace_back(std::move(column),
                        [get = field.get, part](const T& row) {
                          const U* of_row = part(row);
                          return of_row == nullptr ? Value() : get(*of_row);
                        });
  }
}

// The table of these rows.
template <typename T, typename Rows>
Table MakeTable(std::string name, std::string about, const Fields<T>& fields,
                const Rows& rows) {
  Table table;
  table.name = std::move(name);
  table.about = std::move(about);
  for (const Field<T>& field : fields) table.columns.push_back(field.column);
  for (const T& row : rows) {
    std::vector<Value>& values = table.rows.emplace_back();
    values.reserve(fields.size());
    for (const Field<T>& field : fields) values.push_back(field.get(row));
  }
  return table;
}

// The same of one row, or of none for null.
template <typename T>
Table MakeSingle(std::string name, std::string about, const Fields<T>& fields,
                 const T* row) {
  std::vector<std::reference_wrapper<const T>> rows;
  if (row != nullptr) rows.push_back(*row);
  Table table = MakeTable<T>(std::move(name), std::move(about), fields, rows);
  table.single = true;
  return table;
}

// These tables. (An initializer list of them is copied, with all rows.)
template <typename... Tables>
std::vector<Table> TablesOf(Tables... tables) {
  std::vector<Table> all;
  all.reserve(sizeof...(tables));
  (all.push_back(std::move(tables)), ...);
  return all;
}

// Appends a column to a table that is single, and its value if there is a row.
template <typename V>
void AddValue(Table& table, std::string name, Unit unit, std::string about,
              const V& value) {
  Field<V> field(std::move(name), "", unit, std::move(about),
                 [](const V& x) { return x; });
  for (std::vector<Value>& row : table.rows) row.push_back(field.get(value));
  table.columns.push_back(std::move(field.column));
}

}  // namespace ulpscope

#endif  // EXPLORER_RESULTS_SCHEMA_H_
