#ifndef EXPLORER_APP_MODEL_FILE_H_
#define EXPLORER_APP_MODEL_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// The models of --model_file=PATH, of which each line of its text is one: at
// least one, each once, in their order. InvalidArgument names the file.
absl::StatusOr<std::vector<std::string>> ParseModelFile(
    absl::string_view text, const std::string& path);

// Folders of one --out for these models, called as their files or folders are;
// a second one of the same name is NAME-2.
std::vector<std::string> FoldersOf(const std::vector<std::string>& models);

}  // namespace ulpscope

#endif  // EXPLORER_APP_MODEL_FILE_H_
