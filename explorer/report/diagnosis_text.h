#ifndef EXPLORER_REPORT_DIAGNOSIS_TEXT_H_
#define EXPLORER_REPORT_DIAGNOSIS_TEXT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"

namespace ulpscope {

// A name out of somebody else's file, without control characters.
std::string Printable(absl::string_view name);

// The diagnosis in words: what it comes to, what is not finite, how it was
// found in the order in which it was, and a sentence per cause with what is to
// be changed. All other figures are in the report's tables.
std::vector<std::string> Sentences(const Diagnosis& diagnosis);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DIAGNOSIS_TEXT_H_
