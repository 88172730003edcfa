#include "model/tokenizer/tokenizer_parts.h"

#include "absl/strings/str_cat.h"

namespace ulpscope {

absl::Status TokenizerError(absl::string_view file, absl::string_view key,
                            absl::string_view expected,
                            absl::string_view found) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", key, ": expected ",
                                                 expected, ", found ", found));
}

bool SplitMerge(absl::string_view line,
                std::pair<absl::string_view, absl::string_view>& merge) {
  const size_t space = line.find(' ');
  if (space == absl::string_view::npos || space == 0 ||
      space + 1 == line.size() ||
      line.find(' ', space + 1) != absl::string_view::npos) {
    return false;
  }
  merge = {line.substr(0, space), line.substr(space + 1)};
  return true;
}

}  // namespace ulpscope
