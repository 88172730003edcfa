#include "explorer/report/diagnosis_figures.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
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

// Distance by what is allowed. NaN is beyond everything.
double Tightness(const PointResult& point) {
  if (std::isnan(point.distance)) return HUGE_VAL;
  if (point.distance == 0) return 0;
  return point.distance / point.allowed;
}

}  // namespace

DiagnosisFigures FiguresOf(const Diagnosis& d) {
  DiagnosisFigures figures;
  std::map<std::string, size_t> held_by, closest;
  for (size_t i = 0; i < d.points.size(); ++i) {
    const PointResult& point = d.points[i];
    figures.differing += point.differs;
    figures.still_differing += point.still_differs;
    figures.not_reproduced += point.not_reproduced;
    figures.nonfinite += point.nonfinite;
    ++held_by[std::string(HeldByName(point.held_by))];
    if (!point.closest.empty()) ++closest[point.closest];
    if (Tightness(point) > Tightness(d.points[figures.tightest])) {
      figures.tightest = i;
    }
  }
  figures.held_by = MostFirst(held_by);
  figures.closest = MostFirst(closest);
  for (const StateDistance& state : d.states) {
    figures.nearer_trace += state.trace_to_oracle < state.ours_to_oracle;
    figures.nearer_ours += state.ours_to_oracle < state.trace_to_oracle;
  }
  if (d.rows.size() < 2) return figures;
  const double first = d.rows.front().error.mean_abs;
  const double last = d.rows.back().error.mean_abs;
  if (!(first > 0)) return figures;
  const double steps = static_cast<double>(d.rows.size() - 1);
  figures.total_growth = last / first;
  figures.mean_growth = std::pow(last / first, 1 / steps);
  figures.average_growth = 0;
  for (size_t i = 1; i < d.rows.size(); ++i) {
    figures.average_growth += d.rows[i].growth / steps;
  }
  return figures;
}

std::vector<ErrorPart> PartsOf(const ErrorRow& row) {
  return {
      {"comparison", row.comparison}, {"rounding of the trace", row.rounding},
      {"difference", row.difference}, {"rounding of ours", row.own},
      {"inherited", row.inherited},   {"cancellation", row.cancellation}};
}

absl::string_view HeldByName(HeldBy held_by) {
  switch (held_by) {
    case HeldBy::kBF16AndF16:
      return "bf16 and f16";
    case HeldBy::kBF16:
      return "bf16";
    case HeldBy::kF16:
      return "f16";
    case HeldBy::kF32:
      return "f32";
    case HeldBy::kF64:
      return "f64";
  }
  return "";
}

absl::string_view CauseKindName(CauseKind kind) {
  switch (kind) {
    case CauseKind::kComparison:
      return "comparison";
    case CauseKind::kImplementation:
      return "implementation";
    case CauseKind::kArithmetic:
      return "arithmetic";
    case CauseKind::kRounding:
      return "rounding";
  }
  return "";
}

}  // namespace ulpscope
