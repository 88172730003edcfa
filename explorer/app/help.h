#ifndef EXPLORER_APP_HELP_H_
#define EXPLORER_APP_HELP_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ulpscope {

// Whether --help is among the arguments, which then need not be right.
bool AsksForHelp(absl::Span<const char* const> arguments);

// What --help prints: the flags of the mode that the arguments name, or without
// one all flags, and every model, strategy, op, preset and metric that they
// take.
std::string HelpText(absl::Span<const char* const> arguments);

}  // namespace ulpscope

#endif  // EXPLORER_APP_HELP_H_
