// A file of --plan_file, and the same as one of --model_file.

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/app/model_file.h"
#include "explorer/app/plan_file.h"
#include "model/architecture/plan.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

constexpr char kFile[] = "a list";
constexpr size_t kLayers = 6;

void ReadPlans(absl::string_view text) {
  const auto file = ParsePlanFile(text, kFile, kLayers);
  if (!file.ok()) return RequireNames(file.status(), kFile);
  Require(!file->plans.empty() && file->plans.size() <= kMostPlansOfFile,
          "no plans, or too many");
  std::set<std::string> known;
  for (const std::string& plan : file->plans) {
    Require(known.insert(plan).second, absl::StrCat("twice: ", plan));
    const auto read = Plan::Parse(plan, kLayers);
    Require(read.ok() && read->Text() == plan, absl::StrCat("no plan: ", plan));
  }
}

void ReadModels(absl::string_view text) {
  const auto models = ParseModelFile(text, kFile);
  if (!models.ok()) return RequireNames(models.status(), kFile);
  const std::vector<std::string> folders = FoldersOf(*models);
  Require(!models->empty() && folders.size() == models->size(),
          "no models, or without folders");
  std::set<std::string> known;
  for (size_t i = 0; i < folders.size(); ++i) {
    Require(!(*models)[i].empty(), "a model without a name");
    const std::string& folder = folders[i];
    Require(known.insert(folder).second, "two models have one folder");
    Require(!folder.empty() && folder != "." && folder != ".." &&
                folder.find_first_of(absl::string_view("/\0", 2)) ==
                    std::string::npos,
            "what is called so is no folder in --out");
  }
}

}  // namespace

void ReadInput(absl::string_view input) {
  ReadPlans(input);
  ReadModels(input);
}

}  // namespace ulpscope
