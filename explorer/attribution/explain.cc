#include "explorer/attribution/explain.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/cure.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/repair_cost.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/baseline.h"
#include "explorer/error/run.h"
#include "explorer/phenomena/phenomena.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

absl::Status Repairs(const Run& run, const Baseline& baseline,
                     const ExplainOptions& options, Explanation& explanation) {
  RepairOptions search;
  search.budget = options.budget;
  search.strategies = options.strategies;
  auto repair = FindRepair(run, baseline, search);
  if (!repair.ok()) return repair.status();
  explanation.repair = *std::move(repair);
  if (!explanation.repair->stopped_in.empty()) {
    explanation.stopped_in =
        absl::StrCat("the smallest repair, ", explanation.repair->stopped_in);
    return absl::OkStatus();
  }
  if (options.timing_rounds == 0) return absl::OkStatus();
  RepairTiming timing;
  timing.prompt = options.timing_prompt;
  timing.rounds = options.timing_rounds;
  const absl::Status timed =
      TimeRepair(run, explanation.plan, timing, *explanation.repair);
  if (timed.ok() && run.monitor.stopped()) {
    explanation.stopped_in = "the timing of the repair";
  }
  return timed;
}

}  // namespace

absl::StatusOr<Explanation> Explain(const Run& run, const Plan& plan,
                                    const ExplainOptions& options) {
  Explanation explanation;
  explanation.plan = plan;
  explanation.tokens = options.tokens;

  // The one run of the oracle.
  PhenomenaWatch watch(run.weights.layers.size());
  const auto baseline = MakeBaseline(run, plan, options.tokens, &watch);
  if (!baseline.ok()) return baseline.status();
  explanation.phenomena = watch.Found(*baseline);

  auto attribution = Attribute(run, *baseline);
  if (!attribution.ok()) return attribution.status();
  explanation.attribution = *std::move(attribution);
  explanation.verdict =
      Judge(plan, explanation.attribution, &explanation.phenomena);
  explanation.stopped_in = explanation.attribution.stopped_in;
  if (!explanation.stopped_in.empty()) return explanation;

  const absl::Status cured =
      TryCures(run, *baseline, options.strategies, explanation.verdict);
  if (!cured.ok()) return cured;
  if (run.monitor.stopped()) {
    explanation.stopped_in = "the upgrades of the source";
    return explanation;
  }
  const absl::Status repaired = Repairs(run, *baseline, options, explanation);
  if (!repaired.ok()) return repaired;
  return explanation;
}

}  // namespace ulpscope
