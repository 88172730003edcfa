#include "explorer/diagnosis/run_ratio.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/diagnosis/belief.h"
#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "explorer/diagnosis/traced_values.h"
#include "model/architecture/plan.h"
#include "model/architecture/variant.h"

namespace ulpscope {
namespace {

// Two roundings of the same size differ by less on average, and in any one row:
// of 1,000 rows of normal errors none is eight times as far as its like.
constexpr double kSameOnAverage = 2;
constexpr double kSameInARow = 8;
// What is this many times nearer rounds less.
constexpr double kMuchNearer = 10;
constexpr double kFarTooGood = 64;
// Of what is finite on one side only.
constexpr double kMostBits = 64;

struct Distances {
  double trace = 0, run = 0, norm = 0;  // squares
  bool trace_nonfinite = false, run_nonfinite = false;

  // None where neither is finite.
  std::optional<double> Log2Ratio(double unit_roundoff) const {
    if (trace_nonfinite && run_nonfinite) return std::nullopt;
    if (trace_nonfinite) return kMostBits;
    if (run_nonfinite) return -kMostBits;
    const double floor = unit_roundoff * unit_roundoff * norm / 3;
    if (floor == 0) return std::nullopt;
    return std::clamp(std::log2((trace + floor) / (run + floor)) / 2,
                      -kMostBits, kMostBits);
  }
};

struct Mean {
  double sum = 0;
  size_t count = 0;

  void Add(std::optional<double> x) {
    if (!x.has_value()) return;
    sum += *x;
    ++count;
  }
  double Exp2() const {
    return count == 0 ? 1 : std::exp2(sum / static_cast<double>(count));
  }
};

}  // namespace

bool RunRatio::within_rounding() const {
  return of_points <= kSameOnAverage && of_rows <= kSameOnAverage &&
         largest_row <= kSameInARow;
}

bool RunRatio::plausible() const {
  return of_points <= kMuchNearer && of_points >= 1 / kMuchNearer &&
         smallest_row >= 1 / kFarTooGood;
}

double RunRatio::bits() const { return std::fabs(std::log2(of_points)); }

std::optional<RunRatio> RunRatioOf(const AlignedTrace& trace,
                                   const std::vector<Residual>& oracle,
                                   const std::vector<Residual>& run) {
  Mean points, rows;
  double largest = -kMostBits, smallest = kMostBits;
  for (size_t i = 0; i < trace.points().size(); ++i) {
    const Point& point = trace.points()[i];
    if (!IsHandedOn(point.op)) continue;
    const double unit_roundoff = UnitRoundoffOf(point.held_by);
    Distances all;
    const size_t num_rows = std::min(oracle[i].rows.size(), run[i].rows.size());
    for (size_t r = 0; r < num_rows; ++r) {
      const Residual::Row& of_oracle = oracle[i].rows[r];
      const Residual::Row& of_run = run[i].rows[r];
      Distances row;
      row.trace = of_oracle.squares;
      row.run = of_run.own_squares;
      row.norm = of_oracle.theirs_squares;
      row.trace_nonfinite = of_oracle.nonfinite > 0;
      row.run_nonfinite = of_run.own_nonfinite > 0;
      const std::optional<double> log2 = row.Log2Ratio(unit_roundoff);
      rows.Add(log2);
      if (!log2.has_value()) continue;
      largest = std::max(largest, *log2);
      smallest = std::min(smallest, *log2);
      all.trace += row.trace;
      all.run += row.run;
      all.norm += row.norm;
      all.trace_nonfinite = all.trace_nonfinite || row.trace_nonfinite;
      all.run_nonfinite = all.run_nonfinite || row.run_nonfinite;
    }
    points.Add(all.Log2Ratio(unit_roundoff));
  }
  if (rows.count == 0) return std::nullopt;
  return RunRatio{points.Exp2(), rows.Exp2(), std::exp2(largest),
                  std::exp2(smallest)};
}

absl::StatusOr<std::vector<std::optional<RunRatio>>> RunRatios(
    const ReplaySetting& setting, const WeightSets& weights,
    const AlignedTrace& trace, absl::Span<const Belief> beliefs) {
  std::vector<std::optional<RunRatio>> ratios(beliefs.size());
  std::vector<Candidate> candidates = {
      {Plan::Oracle(weights.original().layers.size()), {}, nullptr}};
  std::vector<size_t> of_candidate;
  for (size_t b = 0; b < beliefs.size(); ++b) {
    if (beliefs[b].weights().has_value()) continue;
    candidates.push_back({beliefs[b].plan, beliefs[b].variant(), nullptr});
    of_candidate.push_back(b);
  }
  if (of_candidate.empty()) return ratios;
  const auto runs = MeasureCandidates(setting, weights.original(), trace,
                                      candidates, "runs of arithmetics");
  if (!runs.ok()) return runs.status();
  for (size_t c = 0; c < of_candidate.size(); ++c) {
    ratios[of_candidate[c]] = RunRatioOf(trace, runs->front(), (*runs)[1 + c]);
  }
  return ratios;
}

}  // namespace ulpscope
