#include "explorer/app/output_paths.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

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

struct Output {
  absl::string_view flag;
  std::string value;
};

std::vector<Output> OutputsOf(const Settings& settings) {
  const bool writes_wisdom =
      settings.mode == Mode::kTune && settings.wisdom != "none";
  return {{"out", settings.out},
          {"store", settings.store},
          {"dump_trace", settings.dump_trace},
          {"wisdom", writes_wisdom ? settings.wisdom : ""}};
}

}  // namespace

absl::Status CheckOutputPaths(const std::vector<Settings>& models) {
  std::map<fs::path, const std::string*> model_of;
  for (const Settings& settings : models) {
    std::error_code error;
    if (!fs::exists(settings.model, error)) continue;
    for (fs::path& path : WhatIsRead(settings.model)) {
      model_of.emplace(std::move(path), &settings.model);
    }
  }
  for (const Settings& settings : models) {
    for (const auto& [flag, value] : OutputsOf(settings)) {
      if (value.empty()) continue;
      fs::path path = Resolved(value);
      // Up to the root, which is its own parent.
      for (bool is_root = false; !is_root;) {
        const auto model = model_of.find(path);
        if (model != model_of.end()) {
          return BadFlag(flag, value,
                         absl::StrCat("a path outside of the model's, ",
                                      *model->second, ", which is only read"));
        }
        fs::path parent = path.parent_path();
        is_root = parent == path;
        path = std::move(parent);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
