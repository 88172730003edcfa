#ifndef EXPLORER_REPORT_CAUSE_TEXT_H_
#define EXPLORER_REPORT_CAUSE_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"
#include "model/architecture/op.h"

namespace ulpscope {

// A figure in a sentence: three digits, "nan" for what is none.
std::string Figure(double x);

// A name out of somebody else's file, without control characters.
std::string Printable(absl::string_view name);

// "rope in layer 3", "lm_head".
std::string Place(size_t layer, Op op);

// One of the diagnosis' causes: what it is, the evidence for it, and what is to
// be changed.
std::string CauseSentence(const Diagnosis& diagnosis,
                          const DiagnosedCause& cause);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_CAUSE_TEXT_H_
