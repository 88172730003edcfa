// A plan's text, and the same as --axes and as --budget.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "explorer/error/budget.h"
#include "explorer/sweep/axes.h"
#include "model/architecture/plan.h"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {
namespace {

constexpr size_t kLayers = 6;

void ReadPlan(absl::string_view text) {
  const auto plan = Plan::Parse(text, kLayers);
  if (!plan.ok()) {
    return Require(!plan.status().message().empty(), "an error says nothing");
  }
  const std::string written = plan->Text();
  const auto again = Plan::Parse(written, kLayers);
  Require(again.ok() && *again == *plan,
          absl::StrCat("another plan is read back from ", written));
  Require(again->Text() == written, "equal plans have other texts");
  const auto more = plan->With(written);
  Require(more.ok() && *more == *plan, "a plan with itself is another");
  plan->emulated();
}

void ReadAxes(absl::string_view text) {
  const auto axes = ParseAxes(text, kLayers);
  if (!axes.ok()) {
    return Require(!axes.status().message().empty(), "an error says nothing");
  }
  const auto combinations = Factorial(*axes);
  Require(!combinations.empty() && combinations.size() <= kMaxPlans,
          "too many plans");
  for (const size_t i : {size_t{0}, combinations.size() - 1}) {
    Require(PlanAt(*axes, combinations[i], kLayers).ok(),
            "a combination of axes is no plan");
  }
}

}  // namespace

void ReadInput(absl::string_view input) {
  ReadPlan(input);
  ReadAxes(input);
  const auto budget = ParseBudget(input);
  if (!budget.ok()) return;
  const std::string written = BudgetText(*budget);
  const auto again = ParseBudget(written);
  Require(again.ok() && BudgetText(*again) == written,
          "another budget is read back");
}

}  // namespace ulpscope
