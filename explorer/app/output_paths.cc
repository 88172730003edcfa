#include "explorer/app/output_paths.h"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "explorer/app/flag_values.h"
#include "explorer/app/settings.h"

namespace ulpscope {
namespace {

namespace fs = std::filesystem;

// Without links, also where it does not exist yet.
fs::path Resolved(const std::string& path) {
  std::error_code error;
  // Of a relative path that does not exist it would make a relative one.
  const fs::path absolute = fs::absolute(path, error);
  if (error) return path;
  fs::path resolved = fs::weakly_canonical(absolute, error);
  if (error) return path;
  // "out/" is "out".
  return resolved.has_filename() ? resolved : resolved.parent_path();
}

// All of the model's files where it is a part of a split one, or the model.
std::vector<fs::path> WhatIsRead(const std::string& model_path) {
  std::vector<fs::path> read = {Resolved(model_path)};
  absl::string_view stem = model_path;
  size_t count = 0;
  // NAME-00001-of-00003.gguf
  constexpr size_t kDigits = 5;
  constexpr absl::string_view kOf = "-of-";
  if (!absl::ConsumeSuffix(&stem, ".gguf") ||
      stem.size() < 1 + kDigits + kOf.size() + kDigits ||
      !absl::SimpleAtoi(stem.substr(stem.size() - kDigits), &count)) {
    return read;
  }
  stem.remove_suffix(kDigits);
  if (!absl::ConsumeSuffix(&stem, kOf)) return read;
  stem.remove_suffix(kDigits);
  for (size_t i = 1; i <= count; ++i) {
    read.push_back(
        Resolved(absl::StrFormat("%s%05d-of-%05d.gguf", stem, i, count)));
  }
  return read;
}

// Whether `path` is the folder or lies in it.
bool IsWithin(const fs::path& path, const fs::path& folder) {
  const auto [of_folder, of_path] =
      std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return of_folder == folder.end();
}

}  // namespace

absl::Status CheckOutputPaths(const Settings& settings,
                              const std::string& model_path) {
  std::error_code error;
  if (!fs::exists(model_path, error)) return absl::OkStatus();
  const std::vector<fs::path> read = WhatIsRead(model_path);
  const bool writes_wisdom =
      settings.mode == Mode::kTune && settings.wisdom != "none";
  const struct {
    absl::string_view flag;
    std::string value;
  } outputs[] = {{"out", settings.out},
                 {"store", settings.store},
                 {"dump_trace", settings.dump_trace},
                 {"wisdom", writes_wisdom ? settings.wisdom : ""}};
  for (const auto& [flag, value] : outputs) {
    if (value.empty()) continue;
    const fs::path output = Resolved(value);
    if (absl::c_none_of(read, [&](const fs::path& path) {
          return IsWithin(output, path);
        })) {
      continue;
    }
    return BadFlag(flag, value,
                   absl::StrCat("a path outside of the model's, ", model_path,
                                ", which is only read"));
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
