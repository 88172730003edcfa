#include "explorer/diagnosis/row_factors.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "explorer/diagnosis/compared_values.h"
#include "explorer/diagnosis/description_results.h"
#include "kernels/base/format.h"
#include "model/architecture/rounding.h"

namespace ulpscope {
namespace {

// Kinds of things that are said of a point, of which one may be by chance.
constexpr double kThings = 16;

int PrecisionOf(Format format) { return format == Format::kF16 ? 11 : 8; }
int LeastExponentOf(Format format) {
  return format == Format::kF16 ? -24 : -133;
}

double Rounded(Format format, double x) {
  return format == Format::kF16 ? RoundedToF16(x) : RoundedToBF16(x);
}

// Of the format at x.
double SpacingAt(double x, Format format) {
  if (x == 0) return std::ldexp(1, LeastExponentOf(format));
  return std::ldexp(1, std::max(std::ilogb(x) + 1 - PrecisionOf(format),
                                LeastExponentOf(format)));
}

// The factors that bring `exact` to a number that is rounded to `value`.
struct Interval {
  double low = 0, high = 0;
};

std::optional<Interval> FactorsFor(double value, double exact, Format format) {
  if (exact == 0 || value == 0 || !std::isfinite(value) ||
      !std::isfinite(exact) || (value < 0) != (exact < 0)) {
    return std::nullopt;
  }
  const double spacing = SpacingAt(value, format);
  const double size = std::fabs(value);
  // Below a power of two the spacing is half of that above.
  const bool is_power = std::ldexp(1, std::ilogb(size)) == size;
  const double below = is_power ? spacing / 4 : spacing / 2;
  return Interval{(size - below) / std::fabs(exact),
                  (size + spacing / 2) / std::fabs(exact)};
}

struct Covered {
  double factor = 1;
  size_t elements = 0;
};

// The factor that most intervals have in common; of several the middle of the
// first.
Covered MostCovered(const std::vector<Interval>& intervals) {
  std::vector<std::pair<double, int>> ends;
  for (const Interval& interval : intervals) {
    ends.emplace_back(interval.low, -1);  // begins before others end
    ends.emplace_back(interval.high, 1);
  }
  std::sort(ends.begin(), ends.end());
  Covered most;
  size_t open = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    if (ends[i].second > 0) {
      --open;
      continue;
    }
    if (++open > most.elements) {
      most.elements = open;
      const double next =
          i + 1 < ends.size() ? ends[i + 1].first : ends[i].first;
      most.factor = (ends[i].first + next) / 2;
    }
  }
  return most;
}

bool Covers(const Interval& interval, double factor) {
  return interval.low <= factor && factor <= interval.high;
}

size_t CoveredBy(const std::vector<Interval>& intervals, double factor) {
  size_t covered = 0;
  for (const Interval& interval : intervals) {
    if (Covers(interval, factor)) ++covered;
  }
  return covered;
}

// Of a group's elements that can tell a factor.
struct GroupIntervals {
  std::vector<Interval> theirs, ours;
  double steps = 0, squared_steps = 0;  // of theirs from ours, in spacings
};

GroupIntervals IntervalsOf(const ComparedValues& v, const FactorGroup& group,
                           Format format) {
  GroupIntervals of;
  for (size_t c = 0; c < group.channels; ++c) {
    const size_t at = v.At(group.row, group.first_channel + c);
    const auto theirs = FactorsFor(v.theirs[at], v.exact[at], format);
    const auto ours = FactorsFor(v.ours[at], v.exact[at], format);
    if (!theirs.has_value() || !ours.has_value()) continue;
    of.theirs.push_back(*theirs);
    of.ours.push_back(*ours);
    const double steps = (std::fabs(v.theirs[at]) - std::fabs(v.ours[at])) /
                         SpacingAt(v.exact[at], format);
    of.steps += steps;
    of.squared_steps += steps * steps;
  }
  return of;
}

// ln of 2 exp(-z^2 / 2), the chance that random signs add up to so much.
double LogChanceOfSigns(const GroupIntervals& of) {
  if (of.squared_steps == 0) return 0;
  const double z_squared = of.steps * of.steps / of.squared_steps;
  return std::min(0.0, std::log(2.0) - z_squared / 2);
}

// Six standard deviations, and six, of a count.
double Above(double expected) { return expected + 6 * std::sqrt(expected) + 6; }

}  // namespace

std::vector<FactorGroup> GroupsOf(const ComparedValues& values,
                                  const std::vector<size_t>& rows,
                                  bool of_heads) {
  std::vector<FactorGroup> groups;
  const size_t width = of_heads ? values.head_dim : values.cols;
  for (const size_t row : rows) {
    for (size_t c = 0; c + width <= values.cols && width > 0; c += width) {
      groups.push_back({row, c, width});
    }
  }
  return groups;
}

std::optional<double> BestFactor(const ComparedValues& v,
                                 const FactorGroup& group) {
  double product = 0, squares = 0;
  for (size_t c = 0; c < group.channels; ++c) {
    const size_t at = v.At(group.row, group.first_channel + c);
    if (!v.Counts(at) || !std::isfinite(v.theirs[at]) ||
        !std::isfinite(v.ours[at])) {
      continue;
    }
    product += v.theirs[at] * v.ours[at];
    squares += v.ours[at] * v.ours[at];
  }
  if (squares == 0) return std::nullopt;
  return product / squares;
}

std::optional<RowFactors> FindFactors(const ComparedValues& v,
                                      const std::vector<FactorGroup>& groups) {
  RowFactors found;
  double log_chance = 0;
  bool vary = false;
  for (const FactorGroup& group : groups) {
    const std::optional<double> factor = BestFactor(v, group);
    if (!factor.has_value()) return std::nullopt;
    Agreement with, without;
    for (size_t c = 0; c < group.channels; ++c) {
      const size_t at = v.At(group.row, group.first_channel + c);
      if (!v.Counts(at)) continue;
      with.Add(v.theirs[at], *factor * v.ours[at],
               *factor * *factor * v.noise[at]);
      without.Add(v.theirs[at], v.ours[at], v.noise[at]);
    }
    if (!with.Agrees()) return std::nullopt;
    if (without.squares() > 0) {
      log_chance += LogChance(with.squares() / without.squares(),
                              without.independent(), 1);
    }
    if (found.rows++ == 0) {
      found.least = found.largest = *factor;
    } else {
      vary = true;
    }
    found.least = std::min(found.least, *factor);
    found.largest = std::max(found.largest, *factor);
  }
  if (!vary || !IsBeyondChance(log_chance, kThings)) return std::nullopt;
  return found;
}

std::optional<RowFactors> FindRoundedFactors(
    const ComparedValues& v, const std::vector<FactorGroup>& groups,
    Format format) {
  RowFactors found;
  double log_chance = 0;
  size_t all = 0, theirs = 0, ours = 0, identical = 0;
  for (const FactorGroup& group : groups) {
    const GroupIntervals of = IntervalsOf(v, group, format);
    if (of.theirs.empty()) continue;
    const Covered best = MostCovered(of.theirs);
    all += of.theirs.size();
    theirs += best.elements;
    ours += MostCovered(of.ours).elements;
    identical += CoveredBy(of.theirs, 1);
    log_chance += LogChanceOfSigns(of);
    if (found.rows++ == 0) found.least = found.largest = best.factor;
    found.least = std::min(found.least, best.factor);
    found.largest = std::max(found.largest, best.factor);
  }
  if (all == 0 || !IsBeyondChance(log_chance, kThings)) return std::nullopt;
  const double left = static_cast<double>(all - theirs);
  if (left > Above(static_cast<double>(all - ours))) return std::nullopt;
  found.identical = static_cast<double>(theirs) / static_cast<double>(all);
  found.identical_without =
      static_cast<double>(identical) / static_cast<double>(all);
  return found;
}

bool AreRounded(const ComparedValues& v, const std::vector<FactorGroup>& groups,
                Format format, const std::vector<double>& inverse_rms) {
  // Elements that have their bits with these factors alone, and without them
  // alone; and what the best factors gain, and owe to being chosen.
  double with = 0, without = 0, best = 0, luck = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    const GroupIntervals of = IntervalsOf(v, groups[g], format);
    const double factor = Rounded(format, inverse_rms[g]) / inverse_rms[g];
    for (const Interval& interval : of.theirs) {
      const bool has = Covers(interval, factor), had = Covers(interval, 1);
      if (has && !had) ++with;
      if (had && !has) ++without;
    }
    best += static_cast<double>(MostCovered(of.theirs).elements) -
            static_cast<double>(CoveredBy(of.theirs, 1));
    luck += static_cast<double>(MostCovered(of.ours).elements) -
            static_cast<double>(CoveredBy(of.ours, 1));
  }
  const double gain = with - without;
  if (gain <= 0 || 2 * gain < best - luck) return false;
  return IsBeyondChance(std::log(2.0) - gain * gain / (with + without) / 2,
                        kThings);
}

}  // namespace ulpscope
