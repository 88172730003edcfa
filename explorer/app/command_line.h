#ifndef EXPLORER_APP_COMMAND_LINE_H_
#define EXPLORER_APP_COMMAND_LINE_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// What --help prints: the flags of settings.cc, and every model, strategy, op,
// preset and metric that they take.
std::string HelpText();

// Checks all that Abseil would exit with 1 for, and refuses the flags of its
// own; returns the names of the flags that are given. In the arguments, dashes
// within a flag's name become underscores.
absl::StatusOr<std::set<std::string>> CheckArguments(int argc, char** argv);

// "--flag=value: expected ...".
absl::Status BadFlag(absl::string_view flag, absl::string_view value,
                     absl::string_view expected);

}  // namespace ulpscope

#endif  // EXPLORER_APP_COMMAND_LINE_H_
