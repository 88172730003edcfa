#ifndef EXPLORER_REPORT_VERDICT_TABLES_H_
#define EXPLORER_REPORT_VERDICT_TABLES_H_

#include <string>
#include <vector>

#include "explorer/attribution/verdict.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// What is known of where a plan's error comes from: "verdict", "source" and
// the lists that belong to them. Null, where nothing was judged, has the same
// tables without rows.
std::vector<Table> VerdictTables(const Verdict* verdict);

// "sentences": what a report says first.
Table SentencesTable(const std::vector<std::string>& sentences);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_VERDICT_TABLES_H_
