#ifndef EXPLORER_REPORT_VERDICT_TEXT_H_
#define EXPLORER_REPORT_VERDICT_TEXT_H_

#include <string>
#include <vector>

#include "explorer/attribution/repair.h"
#include "explorer/attribution/verdict.h"

namespace ulpscope {

// The verdict in words: what it comes to, where the error comes from, is
// exposed and spread, what cures it, and the repair. All other figures are in
// the tables of the same fields. `repair` may be null.
std::vector<std::string> Sentences(const Verdict& verdict,
                                   const RepairResult* repair);

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_VERDICT_TEXT_H_
