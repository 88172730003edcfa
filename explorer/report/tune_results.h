#ifndef EXPLORER_REPORT_TUNE_RESULTS_H_
#define EXPLORER_REPORT_TUNE_RESULTS_H_

#include <string>
#include <vector>

#include "explorer/report/frame.h"
#include "explorer/results/schema.h"
#include "explorer/tuning/proof.h"
#include "explorer/tuning/tune.h"

namespace ulpscope {

// What --tune found, and what became of it in the model.
struct TuneOutcome {
  std::vector<TunedMatMul> tuned;
  std::vector<Proof> proofs;
  std::string stopped_in;  // "the proof"; empty if nothing was stopped
};

// "context", "tunings": a row for each MatMul, "proofs": one for each phase of
// a plan, and "proof_timings": one for each of their runs.
Results TuneResults(const RunInfo& info, const TuneOutcome& outcome);

// The same as Markdown.
std::string TuneReport(const RunInfo& info, const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_TUNE_RESULTS_H_
