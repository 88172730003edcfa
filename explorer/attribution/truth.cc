#include "explorer/attribution/truth.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/status/statusor.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effect.h"
#include "explorer/error/effects.h"
#include "explorer/error/run.h"

namespace ulpscope {
namespace {

// KlDivergence.
constexpr double kKlRounding = 1e-14;

double Distance(double figure) {
  return std::isnan(figure) ? std::numeric_limits<double>::infinity() : figure;
}

}  // namespace

Nearer Truth::nearer() const {
  if (!plan.complete() || !reference.complete()) return Nearer::kUnknown;
  const std::pair<double, double> figures[] = {
      {*plan.rel_l2, *reference.rel_l2},
      {*plan.logits_rel_l2, *reference.logits_rel_l2},
      {std::max(Distance(*plan.kl), kKlRounding),
       std::max(Distance(*reference.kl), kKlRounding)}};
  bool plan_is = false, reference_is = false;
  for (const auto& [of_plan, of_reference] : figures) {
    plan_is |= Distance(of_plan) < Distance(of_reference);
    reference_is |= Distance(of_reference) < Distance(of_plan);
  }
  return plan_is && reference_is ? Nearer::kDepends
         : plan_is               ? Nearer::kPlan
         : reference_is          ? Nearer::kReference
                                 : Nearer::kEqual;
}

absl::StatusOr<Truth> FindTruth(const Run& run, const Baseline& baseline) {
  auto plan = PlanAgainstOracle(run, baseline);
  if (!plan.ok()) return plan.status();
  auto reference = ReferenceAgainstOracle(run, baseline);
  if (!reference.ok()) return reference.status();
  return Truth{std::move(plan->effect), std::move(reference->effect)};
}

}  // namespace ulpscope
