#include "explorer/sweep/axes.h"

#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "model/architecture/plan.h"

namespace ulpscope {

std::vector<std::vector<size_t>> Factorial(const std::vector<Axis>& axes) {
  std::vector<std::vector<size_t>> combinations = {{}};
  for (const Axis& axis : axes) {
    std::vector<std::vector<size_t>> longer;
    for (const std::vector<size_t>& combination : combinations) {
      for (size_t level = 0; level < axis.levels.size(); ++level) {
        longer.push_back(combination);
        longer.back().push_back(level);
      }
    }
    combinations = std::move(longer);
  }
  return combinations;
}

absl::StatusOr<Plan> PlanAt(const std::vector<Axis>& axes,
                            const std::vector<size_t>& levels,
                            size_t num_layers) {
  std::vector<std::string> entries;
  for (size_t a = 0; a < levels.size(); ++a) {
    entries.push_back(
        absl::StrCat(axes[a].selector, "=", axes[a].levels[levels[a]]));
  }
  return Plan::Parse(absl::StrJoin(entries, ","), num_layers);
}

absl::StatusOr<std::vector<Axis>> ParseAxes(absl::string_view text,
                                            size_t num_layers,
                                            size_t max_plans) {
  std::vector<Axis> axes;
  std::set<std::string> selectors;
  for (absl::string_view entry : absl::StrSplit(text, ';')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(entry, absl::MaxSplits('=', 1));
    Axis axis;
    axis.selector = std::string(absl::StripAsciiWhitespace(parts.first));
    // (Abseil splits a missing second part into nothing, not into "".)
    if (!absl::StrContains(entry, '=') ||
        absl::StrContains(axis.selector, ',')) {
      return absl::InvalidArgumentError(
          absl::StrCat("axis '", entry, "': expected SELECTOR=STRATEGY,..."));
    }
    std::set<std::string> levels;
    for (absl::string_view level : absl::StrSplit(parts.second, ',')) {
      axis.levels.emplace_back(absl::StripAsciiWhitespace(level));
      const std::string plan =
          absl::StrCat(axis.selector, "=", axis.levels.back());
      const auto parsed = Plan::Parse(plan, num_layers);
      if (!parsed.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "axis '", entry,
            "': expected SELECTOR=STRATEGY,...: ", parsed.status().message()));
      }
      if (!levels.insert(axis.levels.back()).second) {
        return absl::InvalidArgumentError(absl::StrCat(
            "axis '", entry, "': ", axis.levels.back(), " stands twice"));
      }
    }
    if (!selectors.insert(axis.selector).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("axes '", text, "': ", axis.selector, " stands twice"));
    }
    axes.push_back(std::move(axis));
  }
  size_t num_plans = 1;
  for (const Axis& axis : axes) {
    num_plans *= axis.levels.size();
    if (num_plans > max_plans) {
      return absl::InvalidArgumentError(
          absl::StrCat("axes '", text, "': more than ", max_plans,
                       " combinations of strategies"));
    }
  }
  // An axis that later ones overwrite would seem to have no effect.
  std::vector<size_t> levels(axes.size(), 0);
  const auto base = PlanAt(axes, levels, num_layers);
  if (!base.ok()) return base.status();
  for (size_t a = 0; a < axes.size(); ++a) {
    if (axes[a].levels.size() < 2) continue;
    levels[a] = 1;
    const auto plan = PlanAt(axes, levels, num_layers);
    if (!plan.ok()) return plan.status();
    if (*plan == *base) {
      return absl::InvalidArgumentError(absl::StrCat(
          "axes '", text, "': later axes overwrite all of ", axes[a].selector));
    }
    levels[a] = 0;
  }
  return axes;
}

}  // namespace ulpscope
