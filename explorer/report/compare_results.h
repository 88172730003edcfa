#ifndef EXPLORER_REPORT_COMPARE_RESULTS_H_
#define EXPLORER_REPORT_COMPARE_RESULTS_H_

#include <string>
#include <vector>

#include "explorer/compare/comparison.h"
#include "explorer/compare/gate.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// What is compared, and with what.
struct ComparedFiles {
  std::string base;  // empty: a gate of limits alone
  std::string now;
  std::string gate;  // or empty
};

// A comparison's results. `base` and `now` are null where they are not there;
// `checks` are empty without a gate.
Results ComparisonResults(const ComparedFiles& files, const Results* base,
                          const Results* now, const Comparison& comparison,
                          const std::vector<GateCheck>& checks);

// The same in Markdown, made of them.
std::string ComparisonReport(const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_COMPARE_RESULTS_H_
