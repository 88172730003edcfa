#ifndef EXPLORER_REPORT_DIAGNOSIS_REPORT_H_
#define EXPLORER_REPORT_DIAGNOSIS_REPORT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/run_info.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// Markdown for the terminal and report.md: the verdict, then the seed report's
// error table of the trace as it was given, with what each row comes from, and
// the evidence. `reference` is the trace's path; `results` are
// DiagnosisResults of the same.
std::string DiagnosisReport(const RunInfo& info, absl::string_view reference,
                            const Diagnosis& diagnosis, const Results& results);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DIAGNOSIS_REPORT_H_
