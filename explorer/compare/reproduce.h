#ifndef EXPLORER_COMPARE_REPRODUCE_H_
#define EXPLORER_COMPARE_REPRODUCE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// The command, for a shell, that measures again what the results are of: of a
// sweep this plan alone. It begins with "explorer".
std::string CommandOf(const Results& results, absl::string_view plan);

}  // namespace ulpscope

#endif  // EXPLORER_COMPARE_REPRODUCE_H_
