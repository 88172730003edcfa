#ifndef EXPLORER_REPORT_MERGE_RESULTS_H_
#define EXPLORER_REPORT_MERGE_RESULTS_H_

#include <string>

#include "explorer/results/schema.h"
#include "explorer/store/merge.h"

namespace ulpscope {

// What came of putting stores into the store `into`.
Results MergeResults(const std::string& into, const Merge& merge);

// The same in Markdown, made of them.
std::string MergeReport(const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_MERGE_RESULTS_H_
