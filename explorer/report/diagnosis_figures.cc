#include "explorer/report/diagnosis_figures.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"

namespace ulpscope {
namespace {

using Counts = std::vector<std::pair<std::string, size_t>>;

Counts MostFirst(const std::map<std::string, size_t>& counts) {
  Counts sorted(counts.begin(), counts.end());
  std::stable_sort(
      sorted.begin(), sorted.end(),
      [](const auto& a, const auto& b) { return a.second > b.second; });
  return sorted;
}

Outcome OutcomeOf(const Diagnosis& d) {
  const auto is = [&d](CauseKind kind) {
    return std::any_of(d.causes.begin(), d.causes.end(),
                       [kind](const auto& c) { return c.kind == kind; });
  };
  if (is(CauseKind::kImplementation)) return Outcome::kDiffers;
  if (is(CauseKind::kArithmetic)) return Outcome::kRoundsElsewhere;
  if (!d.explained()) return Outcome::kUnexplained;
  if (!d.stopped_in.empty()) return Outcome::kStopped;
  if (d.points.empty()) return Outcome::kNothingMeasured;
  return d.arithmetic.agrees_with_run ? Outcome::kNoDifference
                                      : Outcome::kUnknownArithmetic;
}

}  // namespace

DiagnosisFigures FiguresOf(const Diagnosis& d) {
  DiagnosisFigures figures;
  figures.outcome = OutcomeOf(d);
  std::map<std::string, size_t> held_by, closest;
  for (const PointResult& point : d.points) {
    figures.differing += point.differs;
    figures.still_differing += point.still_differs;
    figures.not_reproduced += point.not_reproduced;
    figures.not_judged += !point.judged;
    if (point.held_by) ++held_by[std::string(HeldByName(*point.held_by))];
    if (!point.closest.empty()) ++closest[point.closest];
  }
  figures.held_by = MostFirst(held_by);
  figures.closest = MostFirst(closest);
  for (const StateDistance& state : d.states) {
    figures.nearer_trace += NearerAt(state) > 0;
    figures.nearer_ours += NearerAt(state) < 0;
    figures.states_not_finite += !state.is_finite();
  }
  if (d.rows.size() < 2) return figures;
  const double first = d.rows.front().error.mean_abs;
  const double last = d.rows.back().error.mean_abs;
  if (!(first > 0)) return figures;
  const double steps = static_cast<double>(d.rows.size() - 1);
  figures.total_growth = last / first;
  figures.mean_growth = std::pow(last / first, 1 / steps);
  double average = 0;
  for (size_t i = 1; i < d.rows.size(); ++i) {
    if (!d.rows[i].growth.has_value()) return figures;
    average += *d.rows[i].growth / steps;
  }
  figures.average_growth = average;
  return figures;
}

bool IsOfProgram(const DiagnosedCause& cause) {
  return cause.kind == CauseKind::kImplementation ||
         cause.kind == CauseKind::kArithmetic;
}

double TightnessOf(const PointResult& point) {
  if (!point.distance.has_value() || *point.distance == 0) return 0;
  if (std::isnan(*point.distance)) return HUGE_VAL;
  return *point.distance / point.allowed.value_or(0);
}

absl::string_view StatusOf(const PointResult& point) {
  return point.without_effect   ? "without effect"
         : point.still_differs  ? "unexplained"
         : point.differs        ? "differs"
         : point.not_reproduced ? "not bit for bit"
         : !point.judged        ? "not judged"
                                : "";
}

int NearerAt(const StateDistance& state) { return state.NearerBy(1); }

absl::string_view OutcomeName(Outcome outcome) {
  constexpr absl::string_view kNames[] = {
      "nothing_measured", "stopped",          "unexplained",
      "differs",          "rounds_elsewhere", "unknown_arithmetic",
      "no_difference"};
  return kNames[static_cast<size_t>(outcome)];
}

absl::string_view HeldByName(HeldBy held_by) {
  constexpr absl::string_view kNames[] = {"bf16 and f16", "bf16", "f16", "f32",
                                          "f64"};
  return kNames[static_cast<size_t>(held_by)];
}

absl::string_view CauseKindName(CauseKind kind) {
  constexpr absl::string_view kNames[] = {
      "comparison", "implementation", "arithmetic", "rounding", "equivalent"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace ulpscope
