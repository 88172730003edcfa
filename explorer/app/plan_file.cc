#include "explorer/app/plan_file.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/app/input_texts.h"
#include "model/architecture/plan.h"

namespace ulpscope {

absl::StatusOr<PlanFile> ParsePlanFile(absl::string_view text,
                                       const std::string& path,
                                       size_t num_layers) {
  const auto error = [&](const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("--plan_file=", path, ": ", what...));
  };
  PlanFile read;
  absl::flat_hash_set<std::string> known;
  for (const auto& [number, line] : LinesOf(text)) {
    const auto plan = Plan::Parse(line, num_layers);
    if (!plan.ok()) {
      return error("line ", number, ": ", plan.status().message());
    }
    std::string canonical = plan->Text();
    if (!known.insert(canonical).second) {
      ++read.repeated;
      continue;
    }
    if (read.plans.size() == kMostPlansOfFile) {
      return error("line ", number, ": expected at most ", kMostPlansOfFile,
                   " plans, found more");
    }
    read.plans.push_back(std::move(canonical));
  }
  if (read.plans.empty()) {
    return error("expected a plan a line, found none");
  }
  return read;
}

}  // namespace ulpscope
