#ifndef EXPLORER_REPORT_VERDICT_TEXT_H_
#define EXPLORER_REPORT_VERDICT_TEXT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/verdict.h"

namespace ulpscope {

// "source", "ops" or "channel".
absl::string_view ScopeName(CureScope scope);

std::string ExposureSentence(const Exposure& exposure);
std::string SpreadingSentence(const Spreading& spreading);

// The verdict in words, each sentence with its numbers. `repair` may be null.
std::vector<std::string> Sentences(const Verdict& verdict,
                                   const RepairResult* repair);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_VERDICT_TEXT_H_
