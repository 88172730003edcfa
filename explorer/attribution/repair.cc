#include "explorer/attribution/repair.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "explorer/attribution/repair_layers.h"
#include "explorer/attribution/repair_ops.h"
#include "explorer/attribution/repair_search.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/budget.h"
#include "explorer/error/run.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// Runs what was found alone.
absl::Status Confirm(RepairSearch& search) {
  RepairResult& result = search.result();
  const auto errors = search.MeasureAlone(result.repair.upgrades);
  if (!errors.ok()) return errors.status();
  result.repair.error = (*errors)[0];
  if (search.Keeps(result.repair.error)) return absl::OkStatus();
  // Only a strategy whose bits are not fixed can do that.
  return absl::InternalError(
      absl::StrCat("the plan ", result.repair.plan.Text(), " has an error of ",
                   result.repair.error, " alone, but kept ",
                   BudgetText(search.options().budget), " among others"));
}

absl::Status RunSteps(RepairSearch& search) {
  RepairResult& result = search.result();
  const auto before = search.Measure({{}});
  if (!before.ok()) return before.status();
  const double error = (*before)[0];
  result.error_before = result.best_error = error;
  if (search.Keeps(error)) search.Accept(search.SetOf({}, error));
  if (result.reached || search.choices().empty()) return absl::OkStatus();

  search.Begin("ops to upgrade");
  std::vector<UpgradeSet> working;
  absl::Status status = FindOps(search, working);
  if (!status.ok() || working.empty()) return status;
  search.Begin("layers to upgrade");
  for (UpgradeSet& set : working) {
    status = NarrowLayers(search, set);
    if (!status.ok()) return status;
  }
  const size_t count = working.size();
  for (size_t i = 0; i < count; ++i) {
    status = TryStrategies(search, UpgradeSet(working[i]), true, working);
    if (!status.ok()) return status;
  }
  absl::c_stable_sort(working, IsSmaller);
  result.repair = working[0];
  for (size_t i = 1; i < working.size(); ++i) {
    const UpgradeSet& set = working[i];
    const auto same = [&set](const UpgradeSet& other) {
      return other.plan == set.plan;
    };
    if (set.upgrades.size() == working[0].upgrades.size() &&
        set.cells() == working[0].cells() &&
        std::none_of(working.begin(),
                     working.begin() + static_cast<ptrdiff_t>(i), same)) {
      result.alternatives.push_back(set);
    }
  }
  search.Begin("confirmation");
  return Confirm(search);
}

}  // namespace

absl::StatusOr<RepairResult> FindRepair(const Run& run,
                                        const Baseline& baseline,
                                        const RepairOptions& options) {
  RepairResult result;
  result.budget = options.budget;
  result.repair.plan = baseline.plan;
  RepairSearch search(run.Without(baseline.bytes), baseline, options, result);
  const absl::Status status = RunSteps(search);
  search.Count();
  if (absl::IsCancelled(status)) {
    result.stopped_in = std::string(search.step());
  } else if (!status.ok()) {
    return status;
  } else {
    run.monitor.OnProgress(RepairSearch::kTask, 1, 1, "");
  }
  result.entries = UpgradeEntries(run.weights.config, result.repair.upgrades);
  return result;
}

}  // namespace ulpscope
