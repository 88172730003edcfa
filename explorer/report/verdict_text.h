#ifndef EXPLORER_REPORT_VERDICT_TEXT_H_
#define EXPLORER_REPORT_VERDICT_TEXT_H_

#include <optional>
#include <string>
#include <vector>

#include "explorer/attribution/attribution.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/truth.h"
#include "explorer/attribution/verdict.h"

namespace ulpscope {

// The verdict in words: what it comes to, where the error comes from, is
// exposed and spread, what cures it, and the repair. All other figures are in
// the tables of the same fields. `repair` may be null.
std::vector<std::string> Sentences(const Verdict& verdict,
                                   const RepairResult* repair);

// Which of the two plans that a verdict is about is nearer to the oracle.
std::string TruthSentence(const Verdict& verdict, const Truth& truth);

// Which positions have the error, if there are several and it is finite; how
// large it is over the ordinary ones, where that differs.
std::optional<std::string> PositionSentence(const Attribution& attribution);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_VERDICT_TEXT_H_
