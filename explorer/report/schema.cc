#include "explorer/report/schema.h"

#include <cstddef>

#include "absl/log/check.h"
#include "absl/strings/string_view.h"

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

size_t Table::Find(absl::string_view column) const {
  size_t c = 0;
  while (c < columns.size() && columns[c].name != column) ++c;
  CHECK_LT(c, columns.size()) << "no column " << column << " in " << name;
  return c;
}

const Table& Results::Find(absl::string_view table) const {
  size_t t = 0;
  while (t < tables.size() && tables[t].name != table) ++t;
  CHECK_LT(t, tables.size()) << "no table " << table << " of " << mode;
  return tables[t];
}

}  // namespace ulpscope
