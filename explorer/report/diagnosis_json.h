#ifndef EXPLORER_REPORT_DIAGNOSIS_JSON_H_
#define EXPLORER_REPORT_DIAGNOSIS_JSON_H_

#include <string>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/run_info.h"

namespace ulpscope {

// {"context": ..., "diagnosis": ...}: every figure of DiagnosisText included.
// What is not a number, or infinite, is null.
std::string DiagnosisJson(const RunInfo& info, absl::string_view reference,
                          const Diagnosis& diagnosis);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DIAGNOSIS_JSON_H_
