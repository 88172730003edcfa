#include "explorer/attribution/luck.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "explorer/attribution/error_sets.h"
#include "explorer/error/baseline.h"
#include "explorer/error/budget.h"
#include "explorer/error/replicates.h"
#include "explorer/error/run.h"
#include "kernels/base/format.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

constexpr char kTask[] = "attribution: luck";
constexpr size_t kSeeds = 4;

// The plan with MatMuls that end in bf16 under another strategy; it is the plan
// itself if it has none.
Plan Drawn(const ModelConfig& config, Plan plan, Strategy strategy) {
  for (const Cell& cell : CellsOf(config)) {
    const Strategy own = plan.Get(cell.layer, cell.op);
    if (OpKernel(cell.op) == Kernel::kMatMul && !own.info().emulated() &&
        own.info().result == Format::kBF16) {
      plan.Set(cell.layer, cell.op, strategy);
    }
  }
  return plan;
}

void Summarize(double plan, double with, Luck& luck) {
  std::vector<double> logs;
  const auto add = [&logs](double before, double after) {
    logs.push_back(std::log(after / before));
  };
  add(plan, with);
  for (const LuckyRun& one : luck.runs) add(one.plan_rel_l2, one.rel_l2);
  for (const double x : logs) {
    if (!std::isfinite(x)) return;
  }
  const Mean mean = MeanOf(logs);
  luck.left = std::exp(mean.mean);
  if (!mean.standard_error.has_value()) return;
  const double half =
      StudentReach(static_cast<int>(logs.size()) - 1) * *mean.standard_error;
  luck.left_low = std::exp(mean.mean - half);
  luck.left_high = std::exp(mean.mean + half);
  luck.distinguishable = *luck.left_high < 1;
}

}  // namespace

absl::StatusOr<Luck> TryLuck(const Run& run, const Baseline& baseline,
                             const ErrorSet& set,
                             const std::vector<std::vector<int32_t>>& windows) {
  Luck luck;
  const std::string entries = absl::StrJoin(set.entries, ",");
  const Plan& plan = baseline.plan;
  const auto with = plan.With(entries);
  if (!with.ok()) return with.status();
  std::vector<Plan> plans = {plan, *with};
  for (size_t seed = 1; seed <= kSeeds; ++seed) {
    const std::string name = absl::StrCat("bf16_sr", seed);
    const auto strategy = FindStrategy(name, Kernel::kMatMul);
    if (!strategy.ok()) break;
    Plan drawn = Drawn(run.weights.config, plan, *strategy);
    if (drawn == plan) break;
    const auto drawn_with = drawn.With(entries);
    if (!drawn_with.ok()) return drawn_with.status();
    plans.push_back(std::move(drawn));
    plans.push_back(*drawn_with);
    luck.runs.push_back({name, 0, 0});
  }
  BudgetMeter meter(run.Without(baseline.bytes), baseline, BudgetMetric::kRelL2,
                    kTask, [] { return "other roundings"; });
  const auto errors = meter.Measure(plans);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < luck.runs.size(); ++i) {
    luck.runs[i].plan_rel_l2 = (*errors)[2 * i + 2];
    luck.runs[i].rel_l2 = (*errors)[2 * i + 3];
  }
  for (size_t i = 0; i < windows.size(); ++i) {
    const auto other =
        MakeBaseline(run, plan, baseline.reference_plan, windows[i]);
    if (!other.ok()) return other.status();
    if (!other->stopped_in.empty()) {
      return absl::CancelledError(other->stopped_in);
    }
    BudgetMeter on_other(run.Without(other->bytes), *other,
                         BudgetMetric::kRelL2, kTask,
                         [] { return "other windows"; });
    const auto there = on_other.Measure({plan, *with});
    if (!there.ok()) return there.status();
    luck.runs.push_back(
        {absl::StrCat("window ", i + 2), (*there)[0], (*there)[1]});
  }
  Summarize((*errors)[0], (*errors)[1], luck);
  run.monitor.OnProgress(kTask, 1, 1, "");
  return luck;
}

}  // namespace ulpscope
