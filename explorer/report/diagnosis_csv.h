#ifndef EXPLORER_REPORT_DIAGNOSIS_CSV_H_
#define EXPLORER_REPORT_DIAGNOSIS_CSV_H_

#include <string>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "explorer/report/run_info.h"

namespace ulpscope {

// A row per point, in the order in which they run; what is not a number is
// empty.
std::string DiagnosisCsv(const RunInfo& info, absl::string_view reference,
                         const Diagnosis& diagnosis);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DIAGNOSIS_CSV_H_
