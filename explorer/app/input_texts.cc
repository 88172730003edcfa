#include "explorer/app/input_texts.h"

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "explorer/app/settings.h"
#include "model/files/text_file.h"

namespace ulpscope {

absl::Status ReadInputTexts(Settings& settings) {
  constexpr size_t kMostBytes = size_t{1} << 30;
  const struct {
    const char* flag;
    const std::string& path;
    std::shared_ptr<const std::string>& text;
  } files[] = {{"prompt_file", settings.prompt_file, settings.prompt_file_text},
               {"plan_file", settings.plan_file, settings.plan_file_text},
               {"model_file", settings.model_file, settings.model_file_text}};
  for (const auto& file : files) {
    if (file.path.empty() || file.text != nullptr) continue;
    auto text = ReadTextFile(file.path, kMostBytes);
    if (!text.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", file.flag, ": ", text.status().message()));
    }
    file.text = std::make_shared<const std::string>(*std::move(text));
  }
  return absl::OkStatus();
}

std::vector<ListedLine> LinesOf(absl::string_view text) {
  std::vector<ListedLine> lines;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || absl::StartsWith(line, "#")) continue;
    lines.push_back({number, line});
  }
  return lines;
}

}  // namespace ulpscope
