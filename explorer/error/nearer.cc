#include "explorer/error/nearer.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/types/span.h"

namespace ulpscope {
namespace {

constexpr double kKlRounding = 1e-14;

double Distance(double figure) {
  return std::isnan(figure) ? std::numeric_limits<double>::infinity() : figure;
}

}  // namespace

double ComparableKl(double kl) { return kl < kKlRounding ? kKlRounding : kl; }

Nearer NearerBy(absl::Span<const std::pair<double, double>> figures) {
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

}  // namespace ulpscope
