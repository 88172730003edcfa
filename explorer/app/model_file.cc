#include "explorer/app/model_file.h"

#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "explorer/app/flag_values.h"
#include "explorer/app/input_texts.h"

namespace ulpscope {

absl::StatusOr<std::vector<std::string>> ParseModelFile(
    absl::string_view text, const std::string& path) {
  std::vector<std::string> names;
  std::set<absl::string_view> known;
  for (const ListedLine& line : LinesOf(text)) {
    if (known.insert(line.text).second) names.emplace_back(line.text);
  }
  if (names.empty()) {
    return BadFlag("model_file", path, "a model a line, found none");
  }
  return names;
}

std::vector<std::string> FoldersOf(const std::vector<std::string>& models) {
  std::vector<std::string> folders;
  std::set<std::string> taken;
  for (absl::string_view name : models) {
    while (absl::ConsumeSuffix(&name, "/")) {
    }
    std::string folder(name.substr(name.rfind('/') + 1));
    for (char& c : folder) {
      const auto byte = static_cast<unsigned char>(c);
      if (!absl::ascii_isalnum(byte) && !absl::StrContains("._-", c)) c = '_';
    }
    if (folder.empty() || folder == "." || folder == "..") folder = "model";
    std::string unique = folder;
    for (size_t i = 2; !taken.insert(unique).second; ++i) {
      unique = absl::StrCat(folder, "-", i);
    }
    folders.push_back(std::move(unique));
  }
  return folders;
}

}  // namespace ulpscope
