#ifndef EXPLORER_APP_PLAN_FILE_H_
#define EXPLORER_APP_PLAN_FILE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ulpscope {

// The most plans that a file may have.
inline constexpr size_t kMostPlansOfFile = size_t{1} << 16;

struct PlanFile {
  std::vector<std::string> plans;  // canonical texts, each once
  size_t repeated = 0;             // lines whose plan stands further above
};

// The plans of --plan_file=PATH, of which each line of its text is one, as
// Plan::Parse takes it. InvalidArgument names the file and the line: one that
// is no plan of a model of so many layers, no plans, or more than
// kMostPlansOfFile.
absl::StatusOr<PlanFile> ParsePlanFile(absl::string_view text,
                                       const std::string& path,
                                       size_t num_layers);

}  // namespace ulpscope

#endif  // EXPLORER_APP_PLAN_FILE_H_
