#ifndef EXPLORER_REPORT_TRACE_PAIR_RESULTS_H_
#define EXPLORER_REPORT_TRACE_PAIR_RESULTS_H_

#include <string>

#include "explorer/diagnosis/trace_pair.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// "context", "sentences", "pair" (what it comes to), "pair_difference" (how the
// traces differ where the difference begins), "pair_points" (as they run),
// "pair_states", and "not_measured" of both.
Results TracePairResults(const RunInfo& info, const TracePair& pair);

// Markdown for the terminal and report.md.
std::string TracePairReport(const RunInfo& info, const TracePair& pair,
                            const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_TRACE_PAIR_RESULTS_H_
