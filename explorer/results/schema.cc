#include "explorer/results/schema.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <vector>

#include "absl/log/check.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

absl::string_view UnitName(Unit unit) {
  switch (unit) {
    case Unit::kNone:
      return "";
    case Unit::kActivation:
      return "activation";
    case Unit::kRelative:
      return "relative";
    case Unit::kShare:
      return "share of 1";
    case Unit::kRatio:
      return "ratio";
    case Unit::kNats:
      return "nats";
    case Unit::kUlps:
      return "ulps";
    case Unit::kBits:
      return "bits";
    case Unit::kSeconds:
      return "seconds";
    case Unit::kTokensPerSecond:
      return "tokens per second";
    case Unit::kBytes:
      return "bytes";
  }
  return "";
}

Column MakeColumn(absl::string_view name, absl::string_view title, Unit unit,
                  absl::string_view about, Type type, bool optional) {
  return {std::string(name), std::string(title), unit, std::string(about), type,
          optional};
}

absl::Span<const Key> Keys() {
  static constexpr Key kKeys[] = {
      {"plan", Type::kText},        {"tokens", Type::kText},
      {"axis", Type::kText},        {"id", Type::kText},
      {"kind", Type::kText},        {"whose", Type::kText},
      {"scope", Type::kText},       {"set", Type::kText},
      {"part", Type::kText},        {"layer", Type::kInteger},
      {"head", Type::kInteger},     {"op", Type::kText},
      {"group", Type::kText},       {"name", Type::kText},
      {"strategy", Type::kText},    {"weights", Type::kText},
      {"shape", Type::kText},       {"format", Type::kText},
      {"normed", Type::kBool},      {"shift", Type::kInteger},
      {"position", Type::kInteger}, {"channel", Type::kInteger},
      {"element", Type::kInteger},  {"phase", Type::kText},
      {"run", Type::kInteger},      {"window", Type::kInteger},
      {"positions", Type::kText},   {"percentile", Type::kText},
  };
  return kKeys;
}

Role Column::role() const {
  for (const Key& key : Keys()) {
    if (name == key.name && type == key.type) return Role::kKey;
  }
  const bool of_speed =
      absl::StartsWith(name, "decode_") || absl::StartsWith(name, "prefill_");
  return unit == Unit::kSeconds || unit == Unit::kTokensPerSecond ||
                 (of_speed && unit != Unit::kBytes) || name == "pareto" ||
                 name == "rank"  // of equal errors the faster comes first
             ? Role::kTime
             : Role::kFigure;
}

std::vector<size_t> Table::KeyColumns() const {
  std::vector<size_t> keys;
  for (size_t c = 0; c < columns.size() && !single; ++c) {
    if (columns[c].role() == Role::kKey) keys.push_back(c);
  }
  return keys;
}

std::vector<size_t> RunColumns(const Table& context) {
  constexpr absl::string_view kNames[] = {
      "model",  "synthetic", "model_fingerprint", "build_commit", "cpu",
      "target", "threads",   "wisdom_file",       "samples"};
  std::vector<size_t> found;
  for (const absl::string_view name : kNames) {
    if (context.Has(name)) found.push_back(context.Find(name));
  }
  return found;
}

bool Table::Has(absl::string_view column) const {
  return std::any_of(columns.begin(), columns.end(),
                     [&](const Column& c) { return c.name == column; });
}

size_t Table::Find(absl::string_view column) const {
  size_t c = 0;
  while (c < columns.size() && columns[c].name != column) ++c;
  CHECK_LT(c, columns.size()) << "no column " << column << " in " << name;
  return c;
}

bool Results::Has(absl::string_view table) const {
  return std::any_of(tables.begin(), tables.end(),
                     [&](const Table& t) { return t.name == table; });
}

const Table& Results::Find(absl::string_view table) const {
  size_t t = 0;
  while (t < tables.size() && tables[t].name != table) ++t;
  CHECK_LT(t, tables.size()) << "no table " << table << " of " << mode;
  return tables[t];
}

std::string SchemaName(const Results& results) {
  return absl::StrCat("ulpscope/", results.mode);
}

}  // namespace ulpscope
