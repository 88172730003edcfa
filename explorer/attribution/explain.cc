#include "explorer/attribution/explain.h"

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/cure.h"
#include "explorer/attribution/error_sets.h"
#include "explorer/attribution/luck.h"
#include "explorer/attribution/mechanisms.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/repair_cost.h"
#include "explorer/attribution/truth.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/baseline.h"
#include "explorer/error/kept.h"
#include "explorer/error/run.h"
#include "explorer/phenomena/archived_phenomena.h"
#include "explorer/phenomena/phenomena.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

using OnStage = std::function<void(const Explanation&)>;

// Tells what there is before the next part.
void Tell(absl::string_view next, const OnStage& on_stage,
          Explanation& explanation) {
  if (!on_stage) return;
  explanation.stopped_in = std::string(next);
  on_stage(explanation);
  explanation.stopped_in.clear();
}

absl::Status Repairs(const Run& run, const Baseline& baseline,
                     const ExplainOptions& options, const OnStage& on_stage,
                     Explanation& explanation) {
  auto repair = FindRepair(run, baseline, {options.budget, options.strategies});
  if (!repair.ok()) return repair.status();
  explanation.repair = *std::move(repair);
  if (!explanation.repair->stopped_in.empty()) {
    explanation.stopped_in =
        absl::StrCat("the smallest repair, ", explanation.repair->stopped_in);
    return absl::OkStatus();
  }
  constexpr char kTiming[] = "the timing of the repair";
  Tell(kTiming, on_stage, explanation);
  const absl::Status timed =
      TimeRepair(run, explanation.plan, options.timing, *explanation.repair);
  if (timed.ok() && run.monitor.stopped()) explanation.stopped_in = kTiming;
  return timed;
}

// Everything but the baseline, and what it shows.
absl::StatusOr<Explanation> ExplainFrom(const Run& run,
                                        const Baseline& baseline,
                                        Phenomena phenomena,
                                        const ExplainOptions& options,
                                        const OnStage& on_stage) {
  const Plan& plan = baseline.plan;
  Explanation explanation;
  explanation.plan = plan;
  explanation.reference = baseline.reference_plan;
  explanation.tokens = options.tokens;
  explanation.phenomena = std::move(phenomena);

  if (!baseline.is_against_oracle()) {
    auto truth = FindTruth(run, baseline);
    if (!truth.ok()) return truth.status();
    explanation.truth = *std::move(truth);
  }
  auto attribution = Attribute(run, baseline);
  if (!attribution.ok()) return attribution.status();
  explanation.attribution = *std::move(attribution);
  explanation.verdict = Judge(plan, baseline.reference_plan,
                              explanation.attribution, &explanation.phenomena);
  explanation.stopped_in = explanation.attribution.stopped_in;
  if (!explanation.stopped_in.empty()) return explanation;

  const auto find_mechanisms = [&] {
    explanation.mechanisms = FindMechanisms(
        run.weights, explanation.verdict,
        explanation.sets.has_value() ? &*explanation.sets : nullptr,
        explanation.phenomena);
  };
  find_mechanisms();
  constexpr char kSets[] = "the sets of cells";
  Tell(kSets, on_stage, explanation);
  auto sets =
      FindSets(run, baseline, explanation.attribution, options.strategies);
  if (!sets.ok()) return sets.status();
  explanation.sets = *std::move(sets);
  if (!explanation.sets->stopped_in.empty()) {
    explanation.stopped_in =
        absl::StrCat(kSets, ", ", explanation.sets->stopped_in);
    return explanation;
  }
  // Now that it is known where to look.
  find_mechanisms();
  const ErrorSets& found = *explanation.sets;
  if (found.whole.has_value() || !found.halving.empty()) {
    constexpr char kLuck[] = "what is luck";
    Tell(kLuck, on_stage, explanation);
    const ErrorSet& set =
        found.whole.has_value() ? *found.whole : found.halving.front();
    auto luck = TryLuck(run, baseline, set, options.windows);
    if (absl::IsCancelled(luck.status())) {
      explanation.stopped_in = kLuck;
      return explanation;
    }
    if (!luck.ok()) return luck.status();
    explanation.luck = *std::move(luck);
  }
  constexpr char kCures[] = "the upgrades of the source";
  Tell(kCures, on_stage, explanation);
  const absl::Status cured =
      TryCures(run, baseline, options.strategies, explanation.verdict);
  if (!cured.ok()) return cured;
  if (run.monitor.stopped()) {
    explanation.stopped_in = kCures;
    return explanation;
  }
  Tell("the smallest repair", on_stage, explanation);
  const absl::Status repaired =
      Repairs(run, baseline, options, on_stage, explanation);
  if (!repaired.ok()) return repaired;
  return explanation;
}

}  // namespace

absl::StatusOr<Explanation> Explain(const Run& run, const Plan& plan,
                                    const ExplainOptions& options,
                                    const OnStage& on_stage) {
  const size_t num_layers = run.weights.layers.size();
  const Plan reference = options.against.value_or(Plan::Oracle(num_layers));
  const Baseline not_run = BaselineOf(run, plan, reference, options.tokens);
  Subject subject =
      SubjectAgainst("phenomena", run, not_run, {{"plan", &plan}});
  subject.version = kPhenomenaVersion;
  const auto is_whole = [&](const Phenomena& phenomena) {
    return IsWhole(phenomena, num_layers, options.tokens.size());
  };
  Phenomena kept;
  if (Recall(run.kept, subject, kept, is_whole)) {
    // All may be kept.
    auto explained =
        ExplainFrom(run, not_run, std::move(kept), options, on_stage);
    if (!absl::IsNotFound(explained.status())) return explained;
  }
  // The one run of the reference.
  PhenomenaWatch watch(num_layers);
  const auto baseline =
      MakeBaseline(run, plan, reference, options.tokens, &watch);
  if (!baseline.ok()) return baseline.status();
  Phenomena phenomena = watch.Found(*baseline);
  if (is_whole(phenomena)) Retain(run.kept, subject, phenomena);
  return ExplainFrom(run, *baseline, std::move(phenomena), options, on_stage);
}

}  // namespace ulpscope
