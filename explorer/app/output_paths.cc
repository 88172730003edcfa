#include "explorer/app/output_paths.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
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
  const fs::path model = Resolved(model_path);
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
    if (value.empty() || !IsWithin(Resolved(value), model)) continue;
    return BadFlag(flag, value,
                   absl::StrCat("a path outside of the model's, ", model_path,
                                ", which is only read"));
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
