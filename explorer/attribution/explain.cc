#include "explorer/attribution/explain.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/cure.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/repair_cost.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/progress.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/attribution_report.h"
#include "explorer/report/phenomena_text.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {
namespace {

absl::Status Repairs(const Weights& weights, const ExplainOptions& options,
                     Parallel& parallel, Explanation& explanation) {
  RepairOptions search;
  search.budget = options.budget;
  search.strategies = options.strategies;
  search.tokens = options.tokens;
  search.memory = options.memory;
  search.stop = options.stop;
  Progress progress("smallest repair", 1);
  search.progress = [&](absl::string_view what, size_t done, size_t total) {
    progress.SetTotal(total);
    progress.Update(done, what);
  };
  auto repair = FindRepair(weights, explanation.plan, search, parallel);
  if (!repair.ok()) return repair.status();
  explanation.repair = *std::move(repair);
  if (!explanation.repair->stopped_in.empty()) {
    explanation.stopped_in =
        absl::StrCat("the smallest repair, ", explanation.repair->stopped_in);
    return absl::OkStatus();
  }
  progress.Finish();
  if (options.timing_rounds == 0) return absl::OkStatus();
  RepairTiming timing;
  timing.prompt = options.timing_prompt;
  timing.rounds = options.timing_rounds;
  timing.stop = options.stop;
  const absl::Status timed = TimeRepair(weights, explanation.plan, timing,
                                        parallel, *explanation.repair);
  if (timed.ok() && options.stop && options.stop()) {
    explanation.stopped_in = "the timing of the repair";
  }
  return timed;
}

}  // namespace

AttributionResults Explanation::Results() const {
  AttributionResults results;
  results.plan = &plan;
  results.tokens = tokens;
  results.attribution = &attribution;
  results.phenomena = &phenomena;
  for (const NamedPhenomenon& named : NamesOf(phenomena)) {
    results.phenomena_lines.push_back(named.text);
  }
  results.verdict = &verdict;
  results.repair = repair.has_value() ? &*repair : nullptr;
  results.stopped_in = stopped_in;
  return results;
}

absl::StatusOr<Explanation> Explain(const Weights& weights, const Plan& plan,
                                    const ExplainOptions& options,
                                    Parallel& parallel) {
  Explanation explanation;
  explanation.plan = plan;
  explanation.tokens = options.tokens;
  const auto stopped = [&] { return options.stop && options.stop(); };

  PhenomenaOptions phenomena_options;
  phenomena_options.tokens = options.tokens;
  phenomena_options.stop = options.stop;
  auto phenomena = FindPhenomena(weights, plan, phenomena_options, parallel);
  if (!phenomena.ok()) return phenomena.status();
  explanation.phenomena = *std::move(phenomena);

  AttributionOptions attribution_options;
  attribution_options.tokens = options.tokens;
  attribution_options.memory = options.memory;
  attribution_options.stop = options.stop;
  auto attribution = Attribute(weights, plan, attribution_options, parallel);
  if (!attribution.ok()) return attribution.status();
  explanation.attribution = *std::move(attribution);
  explanation.verdict =
      Judge(plan, explanation.attribution, &explanation.phenomena);
  explanation.stopped_in = explanation.attribution.stopped_in;
  if (!explanation.stopped_in.empty()) return explanation;

  CureOptions cure_options;
  cure_options.strategies = options.strategies;
  cure_options.tokens = options.tokens;
  cure_options.memory = options.memory;
  cure_options.stop = options.stop;
  const absl::Status cured =
      TryCures(weights, plan, cure_options, parallel, explanation.verdict);
  if (!cured.ok()) return cured;
  if (stopped()) {
    explanation.stopped_in = "the upgrades of the source";
    return explanation;
  }
  const absl::Status repaired =
      Repairs(weights, options, parallel, explanation);
  if (!repaired.ok()) return repaired;
  return explanation;
}

}  // namespace ulpscope
