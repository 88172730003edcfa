#include "explorer/attribution/truth.h"

#include <utility>

#include "absl/status/statusor.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effect.h"
#include "explorer/error/effects.h"
#include "explorer/error/nearer.h"
#include "explorer/error/run.h"

namespace ulpscope {
Nearer Truth::nearer() const {
  if (!plan.complete() || !reference.complete()) return Nearer::kUnknown;
  return NearerBy({{*plan.rel_l2, *reference.rel_l2},
                   {*plan.logits_rel_l2, *reference.logits_rel_l2},
                   {ComparableKl(*plan.kl), ComparableKl(*reference.kl)}});
}

absl::StatusOr<Truth> FindTruth(const Run& run, const Baseline& baseline) {
  auto plan = PlanAgainstOracle(run, baseline);
  if (!plan.ok()) return plan.status();
  auto reference = ReferenceAgainstOracle(run, baseline);
  if (!reference.ok()) return reference.status();
  return Truth{std::move(plan->effect), std::move(reference->effect)};
}

}  // namespace ulpscope
