#ifndef EXPLORER_REPORT_TRACE_PAIR_TEXT_H_
#define EXPLORER_REPORT_TRACE_PAIR_TEXT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/trace_pair.h"

namespace ulpscope {

// What a pair comes to.
enum class PairOutcome {
  kNothingShared,  // no output that both have
  kStopped,        // before anything was found
  kSame,           // bit for bit
  kRounding,       // what their arithmetics explain
  kDiffers,        // one of the two adds more than that
};
PairOutcome OutcomeOf(const TracePair& pair);
absl::string_view OutcomeName(PairOutcome outcome);   // "rounding"
absl::string_view PairOriginName(PairOrigin origin);  // "added_by_b"

// The pair in words: what it comes to, where the difference begins and what
// becomes of it, how it looks there, what is not finite, and who is nearer to
// the oracle.
std::vector<std::string> Sentences(const TracePair& pair);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_TRACE_PAIR_TEXT_H_
