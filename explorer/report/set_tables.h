#ifndef EXPLORER_REPORT_SET_TABLES_H_
#define EXPLORER_REPORT_SET_TABLES_H_

#include <string>
#include <vector>

#include "explorer/attribution/error_sets.h"
#include "explorer/attribution/verdict.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// What was found of sets of cells; empty tables for null.
std::vector<Table> SetTables(const ErrorSets* sets);

// The same in sentences, those of the verdict: whether anything single halves
// the error, what the first set's group takes away, and the smallest set that
// halves it.
std::vector<std::string> SetSentences(const Verdict& verdict,
                                      const ErrorSets& sets);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_SET_TABLES_H_
