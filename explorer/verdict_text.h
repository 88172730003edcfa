#ifndef EXPLORER_VERDICT_TEXT_H_
#define EXPLORER_VERDICT_TEXT_H_

#include <string>
#include <vector>

#include "explorer/repair.h"
#include "explorer/verdict.h"

namespace ulpscope {

// The verdict in words, each sentence with its numbers. `repair` may be null.
std::vector<std::string> Sentences(const Verdict& verdict,
                                   const RepairResult* repair);

}  // namespace ulpscope

#endif  // EXPLORER_VERDICT_TEXT_H_
