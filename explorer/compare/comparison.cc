#include "explorer/compare/comparison.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "explorer/compare/figures.h"
#include "explorer/compare/mann_whitney.h"
#include "explorer/results/results_csv.h"
#include "explorer/results/schema.h"
#include "kernels/measure/quantile.h"

namespace ulpscope {
namespace {

std::optional<double> RatioOf(const Value& base, const Value& now) {
  const double* const a = std::get_if<double>(&base);
  const double* const b = std::get_if<double>(&now);
  if (a == nullptr || b == nullptr || *a == 0) return std::nullopt;
  const double ratio = *b / *a;
  return std::isfinite(ratio) ? std::optional<double>(ratio) : std::nullopt;
}

Comparison::OfTable& TableOf(const Figure& figure, Comparison& comparison) {
  for (Comparison::OfTable& table : comparison.tables) {
    if (table.table == figure.table->name) return table;
  }
  comparison.tables.push_back({figure.table->name});
  return comparison.tables.back();
}

Comparison::Difference DifferenceOf(const Figure& figure) {
  Comparison::Difference difference;
  difference.table = figure.table->name;
  difference.of = figure.of();
  difference.metric = figure.column->name;
  difference.unit = std::string(UnitName(figure.column->unit));
  return difference;
}

void CompareFigures(const Results& base, const Results& now,
                    Comparison& comparison) {
  const std::vector<Figure> of_base = FiguresOf(base), of_now = FiguresOf(now);
  const auto in_base = ByName(of_base), in_now = ByName(of_now);
  // What was read from a store lacks whole tables.
  const auto is_compared = [&](const Figure& figure, const Results& other) {
    return IsDeterministic(figure) && other.Has(figure.table->name);
  };
  for (const Figure& figure : of_now) {
    if (!is_compared(figure, base)) continue;
    Comparison::OfTable& table = TableOf(figure, comparison);
    ++table.figures;
    const auto found = in_base.find(figure.name);
    if (found != in_base.end() &&
        SameBits(found->second->value, figure.value)) {
      ++table.same;
      continue;
    }
    Comparison::Difference difference = DifferenceOf(figure);
    difference.now = figure.value;
    difference.in_base = found != in_base.end();
    if (difference.in_base) {
      ++table.different;
      difference.base = found->second->value;
      difference.ratio = RatioOf(difference.base, difference.now);
    } else {
      ++table.only_in_now;
    }
    comparison.differences.push_back(std::move(difference));
  }
  for (const Figure& figure : of_base) {
    if (!is_compared(figure, now) || in_now.count(figure.name) > 0) continue;
    Comparison::OfTable& table = TableOf(figure, comparison);
    ++table.figures;
    ++table.only_in_base;
    Comparison::Difference difference = DifferenceOf(figure);
    difference.base = figure.value;
    difference.in_now = false;
    comparison.differences.push_back(std::move(difference));
  }
}

void CompareSpeeds(const Results& base, const Results& now,
                   Comparison& comparison) {
  const TimedRuns of_base(base), of_now(now);
  for (const Table& table : now.tables) {
    if (table.name != "plans") continue;
    const size_t plans = table.Find("plan");
    for (const std::vector<Value>& row : table.rows) {
      const std::string plan = ValueText(row[plans]);
      for (const char* phase : {"decode", "prefill"}) {
        const std::vector<double>& before = of_base.Of(plan, phase);
        const std::vector<double>& after = of_now.Of(plan, phase);
        if (before.empty() || after.empty()) continue;
        Comparison::Speed speed = CompareSpeed(before, after);
        speed.plan = plan;
        speed.phase = phase;
        comparison.speeds.push_back(std::move(speed));
      }
    }
  }
}

}  // namespace

Comparison::Speed CompareSpeed(const std::vector<double>& base_seconds,
                               const std::vector<double>& now_seconds) {
  Comparison::Speed speed;
  speed.base_runs = base_seconds.size();
  speed.now_runs = now_seconds.size();
  speed.base_seconds = Quantile(base_seconds, 0.5);
  speed.now_seconds = Quantile(now_seconds, 0.5);
  speed.ratio = speed.base_seconds / speed.now_seconds;
  speed.p = MannWhitneyP(base_seconds, now_seconds);
  speed.clear = speed.p < kClearP && std::fabs(speed.ratio - 1) > kLeastEffect;
  return speed;
}

Comparison Compare(const Results& base, const Results& now) {
  Comparison comparison;
  comparison.not_comparable = WhyNotComparable(base, now);
  if (!comparison.not_comparable.empty()) return comparison;
  CompareFigures(base, now, comparison);
  comparison.times_not_comparable = WhyTimesNotComparable(base, now);
  if (comparison.times_not_comparable.empty()) {
    CompareSpeeds(base, now, comparison);
  }
  return comparison;
}

}  // namespace ulpscope
