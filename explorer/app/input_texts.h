#ifndef EXPLORER_APP_INPUT_TEXTS_H_
#define EXPLORER_APP_INPUT_TEXTS_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "explorer/app/settings.h"

namespace ulpscope {

// Reads the files of --prompt_file, --plan_file and --model_file, if there are
// any, into the settings: once, as each may be a pipe, however many models they
// are for. InvalidArgument names the flag and the file.
absl::Status ReadInputTexts(Settings& settings);

// A line of a list.
struct ListedLine {
  size_t number = 0;  // from 1
  absl::string_view text;
};

// The lines of a file that lists plans or models, without the blanks around
// them; blank ones, and those that begin with '#', are none.
std::vector<ListedLine> LinesOf(absl::string_view text);

}  // namespace ulpscope

#endif  // EXPLORER_APP_INPUT_TEXTS_H_
