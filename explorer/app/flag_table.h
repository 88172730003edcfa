#ifndef EXPLORER_APP_FLAG_TABLE_H_
#define EXPLORER_APP_FLAG_TABLE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/app/settings.h"
#include "explorer/report/report_files.h"

namespace ulpscope {

// A flag of the command line, --name=value or --name value; -name and dashes
// for underscores are as good. A switch, whose values are true and false, is
// --name or --noname too.
struct Flag {
  absl::string_view name;
  absl::string_view default_text;  // a value that it takes, as if given
  unsigned modes;                  // bits, as of ModeBit: those that take it
  absl::string_view expected;      // what its values are
  // Whether `text` is one. If it is, `settings` has it.
  bool (*read)(absl::string_view text, Settings& settings);
  absl::string_view help;
  bool is_switch = false;
};

absl::Span<const Flag> Flags();  // those of the modes first

// Whether the mode has what the format of -o is about, and the names of all of
// which it has.
bool TakesFormat(Mode mode, OutputFormat format);
std::string FormatsOf(Mode mode);

}  // namespace ulpscope

#endif  // EXPLORER_APP_FLAG_TABLE_H_
