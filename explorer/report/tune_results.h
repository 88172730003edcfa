#ifndef EXPLORER_REPORT_TUNE_RESULTS_H_
#define EXPLORER_REPORT_TUNE_RESULTS_H_

#include <string>
#include <vector>

#include "explorer/report/frame.h"
#include "explorer/results/schema.h"
#include "explorer/tuning/tune.h"

namespace ulpscope {

// "context" and "tunings": a row for each MatMul.
Results TuneResults(const RunInfo& info, const std::vector<TunedMatMul>& tuned);

// The same as Markdown.
std::string TuneReport(const RunInfo& info, const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_TUNE_RESULTS_H_
