#ifndef EXPLORER_RESULTS_RESULTS_CSV_H_
#define EXPLORER_RESULTS_RESULTS_CSV_H_

#include <string>

#include "absl/strings/string_view.h"
#include "explorer/results/schema.h"
#include "explorer/results/text_sink.h"

namespace ulpscope {

// A value as text, all bits of it: NaN and infinities are NaN, Infinity and
// -Infinity, what was not measured is empty, lists have spaces between their
// elements.
std::string ValueText(const Value& value);

// A text as a field of CSV (RFC 4180).
std::string CsvField(absl::string_view text);

// A table as CSV, with RunColumns before its own.
void WriteResultsCsv(const Table& context, const Table& table, TextSink sink);
std::string ResultsCsv(const Table& context, const Table& table);

}  // namespace ulpscope

#endif  // EXPLORER_RESULTS_RESULTS_CSV_H_
