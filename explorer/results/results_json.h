#ifndef EXPLORER_RESULTS_RESULTS_JSON_H_
#define EXPLORER_RESULTS_RESULTS_JSON_H_

#include <string>
#include <vector>

#include "explorer/results/schema.h"
#include "explorer/results/text_sink.h"

namespace ulpscope {

// The text of a results.json:
//   {"schema": "ulpscope/sweep", "version": 2, "context": {...}, "plans":
//   [...]}
// with a key per table; a single row is an object, or null where there is none.
// NaN and infinities are the strings "NaN", "Infinity" and "-Infinity"; null is
// what was not measured. Bytes that are no UTF-8 (of a path) are replaced.
void WriteResultsJson(const Results& results, TextSink sink);
std::string ResultsJson(const Results& results);

// The text of single rows of a table, as they stand in a results.json.
class RowJson {
 public:
  explicit RowJson(const Table& table);
  std::string Of(const std::vector<Value>& row) const;

 private:
  std::vector<std::string> keys_;  // what stands before each value
};

// The JSON Schema (draft 2020-12) of that, which rows have no part in:
// docs/schema/<mode>.json.
std::string JsonSchema(const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_RESULTS_RESULTS_JSON_H_
