#ifndef EXPLORER_RESULTS_FACTS_H_
#define EXPLORER_RESULTS_FACTS_H_

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "explorer/results/schema.h"
#include "explorer/results/text_sink.h"

namespace ulpscope {

// The long format: one figure a row, with all that says what it is of. It has
// the same columns whatever the mode, so that files of several runs can be put
// together, and nothing is nested.

// A figure of a row, or one element of a list of numbers.
struct Fact {
  const Table* table;
  size_t row;
  const Column* column;
  size_t index;  // of the element, from 1; 0 of a figure
  Value value;   // no list of numbers
};

// Every fact of the tables, in their order. What was not measured is one too,
// whose value is none. `results` outlives them.
void ForEachFact(const Results& results,
                 absl::FunctionRef<void(const Fact&)> take);

// The facts as text. Columns: RunColumns, "table", Keys, "index", "metric",
// "unit", and the value: "value" if it is a number (true is 1), else "text",
// which has NaN, Infinity and -Infinity too. Both are empty, or null, for what
// was not measured. Lists of texts have blanks between them.
void WriteFactsCsv(const Results& results, TextSink sink);
// An object a line, without the keys that a row does not have.
void WriteFactsJsonl(const Results& results, TextSink sink);
// Statements for SQLite, PostgreSQL or DuckDB that create the table `results`,
// unless it is there, and insert the facts in one transaction. Its columns are
// the same for every mode.
void WriteFactsSql(const Results& results, TextSink sink);

}  // namespace ulpscope

#endif  // EXPLORER_RESULTS_FACTS_H_
