#ifndef TESTS_EXPLORER_ATTRIBUTION_VERDICT_FIGURES_H_
#define TESTS_EXPLORER_ATTRIBUTION_VERDICT_FIGURES_H_

#include <string>
#include <vector>

#include "explorer/attribution/verdict.h"

namespace ulpscope {

// Every figure that is kept of a verdict, with its name, to the last bit.
std::vector<std::string> FiguresOf(Verdict verdict);

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_ATTRIBUTION_VERDICT_FIGURES_H_
