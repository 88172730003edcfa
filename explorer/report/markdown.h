#ifndef EXPLORER_REPORT_MARKDOWN_H_
#define EXPLORER_REPORT_MARKDOWN_H_

#include <functional>
#include <string>
#include <vector>

#include "explorer/results/schema.h"

namespace ulpscope {

// A value as tables show it, by its column's unit: "12.3 %", "1.430e-01",
// "1.244x". "-" is what was not measured; NaN and infinities are "NaN",
// "Infinity", "-Infinity".
std::string CellText(const Column& column, const Value& value);

// A table in Markdown of these columns, by their names, with their titles as
// heads; of all rows, or of those for which `shown`. A column "a±b" shows b as
// the spread of a: "20.1 ± 0.4".
std::string Markdown(
    const Table& table, const std::vector<std::string>& columns,
    const std::function<bool(const std::vector<Value>&)>& shown = nullptr);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_MARKDOWN_H_
