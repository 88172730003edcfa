#ifndef EXPLORER_REPORT_DIAGNOSIS_RESULTS_H_
#define EXPLORER_REPORT_DIAGNOSIS_RESULTS_H_

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// "context", "sentences", the "diagnosis" (what it comes to), "causes", the
// "error_table", "states", "presets", "points" (as they run), "hypotheses",
// "shifts", "other_tokens", "formats", "not_measured", and --attribute's
// verdict on the trace's rounding (VerdictTables). `reference` is the trace's
// path.
Results DiagnosisResults(const RunInfo& info, absl::string_view reference,
                         const Diagnosis& diagnosis);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DIAGNOSIS_RESULTS_H_
