#ifndef EXPLORER_REPORT_RESULTS_CSV_H_
#define EXPLORER_REPORT_RESULTS_CSV_H_

#include <string>

#include "explorer/report/schema.h"

namespace ulpscope {

// A table as CSV (RFC 4180), with the fields of the context that say what a row
// is of ("model", "synthetic", "cpu", "target", "threads") before its own. What
// was not measured is empty; NaN and infinities are NaN, Infinity, -Infinity.
// Lists have spaces between their elements.
std::string ResultsCsv(const Table& context, const Table& table);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_RESULTS_CSV_H_
