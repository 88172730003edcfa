#include "explorer/app/plan_file.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "model/architecture/plan.h"
#include "model/files/mapped_file.h"

namespace ulpscope {

absl::StatusOr<PlanFile> ReadPlanFile(const std::string& path,
                                      size_t num_layers) {
  const auto error = [](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat("--plan_file", what...));
  };
  const auto file = MappedFile::Open(path);
  if (!file.ok()) return error(": ", file.status().message());
  PlanFile read;
  absl::flat_hash_set<std::string> known;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit((*file)->text(), '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || absl::StartsWith(line, "#")) continue;
    const auto plan = Plan::Parse(line, num_layers);
    if (!plan.ok()) {
      return error("=", path, ": line ", number, ": ", plan.status().message());
    }
    std::string text = plan->Text();
    if (!known.insert(text).second) {
      ++read.repeated;
      continue;
    }
    if (read.plans.size() == kMostPlansOfFile) {
      return error("=", path, ": line ", number, ": expected at most ",
                   kMostPlansOfFile, " plans, found more");
    }
    read.plans.push_back(std::move(text));
  }
  if (read.plans.empty()) {
    return error("=", path, ": expected a plan a line, found none");
  }
  return read;
}

}  // namespace ulpscope
