#ifndef EXPLORER_APP_FLAGS_H_
#define EXPLORER_APP_FLAGS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/app/settings.h"

namespace ulpscope {

// What the program does. The name of its flag is its own.
struct ModeInfo {
  absl::string_view name;
  absl::string_view usage;  // how it is called
  absl::string_view summary;
};

const ModeInfo& InfoOf(Mode mode);

// Reads the arguments, without the program's name. InvalidArgument names one
// that cannot be read, or that the mode would ignore.
absl::StatusOr<Settings> ReadFlags(absl::Span<const char* const> arguments);

// The flag of an argument without its leading dashes: "dump_trace" of
// "dump-trace=x".
std::string FlagName(absl::string_view argument);

}  // namespace ulpscope

#endif  // EXPLORER_APP_FLAGS_H_
