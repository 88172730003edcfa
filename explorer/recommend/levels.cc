#include "explorer/recommend/levels.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/budget.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "explorer/recommend/clock.h"
#include "explorer/recommend/recommendation.h"
#include "explorer/recommend/space.h"
#include "kernels/measure/quantile.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// The axes' cells under these levels.
Plan PlanOfLevels(absl::Span<const SearchAxis> axes,
                  const std::vector<size_t>& levels, size_t num_layers) {
  Plan plan(num_layers);
  for (size_t a = 0; a < axes.size(); ++a) {
    plan = WithCells(plan, axes[a].cells, axes[a].levels[levels[a]]);
  }
  return plan;
}

// However noisy the machine is: what may be this much faster is searched, and
// the finalists' rounds say whether it is.
constexpr double kMostNoise = 0.05;

// Whether every choice of a level for each cell can be run.
bool AreFew(absl::Span<const SearchAxis> axes) {
  double plans = 1;
  for (const SearchAxis& axis : axes) {
    plans *= std::pow(static_cast<double>(axis.levels.size()),
                      static_cast<double>(axis.cells.size()));
  }
  return plans <= static_cast<double>(kMostRunPlans);
}

// All of them, the most accurate first.
std::vector<size_t> ByError(absl::Span<const WeighedLevel> levels) {
  std::vector<size_t> order(levels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  absl::c_stable_sort(order, [&](size_t a, size_t b) {
    return levels[a].error < levels[b].error;
  });
  return order;
}

// How long plans take by f32's time.
struct LevelTimes {
  double f32_seconds = 0;
  std::vector<Spread> ratios;  // [plans], over rounds
  double noise = 0;            // two standard errors of one, as a share
};

// In each round f32 is timed in front of the plans from each of `firsts` on,
// and the median of its times is what the others are compared with: a slow
// spell then has to last for half of the round to spoil it.
absl::StatusOr<LevelTimes> TimeLevels(const RecommendOptions& options,
                                      Monitor& monitor, PlanClock& clock,
                                      absl::Span<const Plan> plans,
                                      absl::Span<const size_t> firsts) {
  const Plan f32(plans[0].num_layers());
  std::vector<Plan> timed;
  std::vector<size_t> place;  // [plans]; of f32 itself none
  std::vector<size_t> of_f32;
  for (size_t i = 0; i < plans.size(); ++i) {
    if (absl::c_linear_search(firsts, i)) {
      of_f32.push_back(timed.size());
      timed.push_back(f32);
    }
    place.push_back(timed.size());
    if (!(plans[i] == f32)) timed.push_back(plans[i]);
  }
  const auto rounds =
      TimeInRounds(clock, monitor, "timing strategies", timed, options.phase,
                   {3, 8, options.timing_seconds / 2});
  if (!rounds.ok()) return rounds.status();
  std::vector<double> base;  // [rounds]: f32's logarithm
  for (size_t r = 0; r < rounds->rounds(); ++r) {
    std::vector<double> of_round;
    for (const size_t t : of_f32) of_round.push_back(rounds->logs[t][r]);
    base.push_back(Quantile(of_round, 0.5));
  }
  LevelTimes times;
  times.f32_seconds = std::exp(Quantile(base, 0.5));
  std::vector<double> deviations;
  for (size_t i = 0; i < plans.size(); ++i) {
    if (plans[i] == f32) {
      times.ratios.push_back({1, 0});
      continue;
    }
    std::vector<double> ratios;
    for (size_t r = 0; r < base.size(); ++r) {
      ratios.push_back(std::exp(rounds->logs[place[i]][r] - base[r]));
    }
    const double median = Quantile(ratios, 0.5);
    times.ratios.push_back(
        {median, (Quantile(ratios, 0.75) - Quantile(ratios, 0.25)) / 2});
    for (const double ratio : ratios) {
      if (ratio != median) deviations.push_back(std::fabs(ratio / median - 1));
    }
  }
  // Of normal deviates the median is that part of the standard deviation.
  constexpr double kMedianDeviate = 0.6745;
  if (!deviations.empty()) {
    times.noise = 2 * Quantile(deviations, 0.5) / kMedianDeviate /
                  std::sqrt(static_cast<double>(base.size()));
  }
  return times;
}

// Of what is not told apart the first.
bool MakesNeedless(absl::Span<const WeighedLevel> levels, size_t other,
                   size_t level, double like_error) {
  const WeighedLevel& a = levels[other];
  const WeighedLevel& b = levels[level];
  const double noise = std::max(a.noise, b.noise);
  const bool faster = a.seconds < b.seconds - noise;
  const bool slower = b.seconds < a.seconds - noise;
  const bool better = a.error < b.error * like_error;
  const bool worse = b.error < a.error * like_error;
  if (slower || worse) return false;
  return faster || better || other < level;
}

}  // namespace

double SizeOf(BudgetMetric metric, double error) {
  return metric == BudgetMetric::kKl ? error : error * error;
}

double CostModel::SecondsOf(const ModelConfig& config, const Plan& plan) const {
  double seconds = f32_seconds;
  for (size_t a = 0; a < axes.size(); ++a) {
    double work = 0, sum = 0;
    for (const Cell& cell : axes[a].cells) {
      const double share = WorkOf(config, cell.op);
      work += share;
      // Costs are beyond f32's, which is none of the strategies where another
      // one makes it needless.
      const auto at =
          absl::c_find(axes[a].levels, plan.Get(cell.layer, cell.op));
      if (at == axes[a].levels.end()) continue;
      sum += share *
             costs[a].seconds[static_cast<size_t>(at - axes[a].levels.begin())];
    }
    seconds += sum / work;
  }
  return seconds;
}

std::vector<size_t> WorthSearching(absl::Span<const WeighedLevel> levels,
                                   double like_error) {
  std::vector<size_t> kept;
  for (const size_t level : ByError(levels)) {
    bool needless = false;
    for (size_t other = 0; other < levels.size(); ++other) {
      needless = needless || (other != level &&
                              MakesNeedless(levels, other, level, like_error));
    }
    if (!needless) kept.push_back(level);
  }
  // "As good" is no order: each of three may be as good as the next.
  if (kept.empty()) {
    kept.push_back(static_cast<size_t>(
        std::min_element(levels.begin(), levels.end(),
                         [](const WeighedLevel& a, const WeighedLevel& b) {
                           return a.error < b.error;
                         }) -
        levels.begin()));
  }
  return kept;
}

absl::Status FindLevels(const RecommendOptions& options, Monitor& monitor,
                        BudgetMeter& meter, PlanClock& clock, size_t num_layers,
                        CostModel& model, std::optional<double>& noise,
                        std::vector<LevelCost>& levels) {
  std::vector<SearchAxis>& axes = model.axes;
  // All as accurate as can be, and what one axis makes worse.
  std::vector<size_t> best(axes.size());
  for (size_t a = 0; a < axes.size(); ++a) {
    const auto& of = axes[a].levels;
    best[a] = static_cast<size_t>(std::min_element(of.begin(), of.end(),
                                                   [](Strategy x, Strategy y) {
                                                     return Inaccuracy(x) <
                                                            Inaccuracy(y);
                                                   }) -
                                  of.begin());
  }
  const Plan accurate = PlanOfLevels(axes, best, num_layers);
  const Plan f32(num_layers);
  std::vector<Plan> measured, timed;
  std::vector<size_t> firsts;
  for (const SearchAxis& axis : axes) {
    firsts.push_back(timed.size());
    for (const Strategy level : axis.levels) {
      levels.push_back(
          {axis.selector, std::string(level.name()), {}, {}, false});
      measured.push_back(WithCells(accurate, axis.cells, level));
      timed.push_back(WithCells(f32, axis.cells, level));
    }
  }
  const auto errors = meter.Measure(measured);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < levels.size(); ++i) levels[i].error = (*errors)[i];

  const auto times = TimeLevels(options, monitor, clock, timed, firsts);
  if (!times.ok()) return times.status();
  model.f32_seconds = times->f32_seconds;
  model.costs.clear();
  noise = std::max(options.least_gain, std::min(times->noise, kMostNoise));
  // Luck may choose any of them, where all that it makes can be run.
  const bool few = AreFew(axes);
  size_t first = 0;  // of the axis' levels
  for (size_t a = 0; a < axes.size(); ++a) {
    SearchAxis& axis = axes[a];
    std::vector<WeighedLevel> weighed;
    for (size_t l = 0; l < axis.levels.size(); ++l) {
      LevelCost& level = levels[first + l];
      level.time = times->ratios[first + l];
      // What is far below the budget is not worth any time.
      weighed.push_back(
          {(level.time->median - 1) * model.f32_seconds,
           *noise * model.f32_seconds,
           std::max(*level.error, options.budget.limit * options.negligible)});
    }
    std::vector<Strategy> kept;
    AxisCosts of_axis;
    for (const size_t l :
         few ? ByError(weighed) : WorthSearching(weighed, options.like_error)) {
      levels[first + l].searched = true;
      kept.push_back(axis.levels[l]);
      of_axis.seconds.push_back(weighed[l].seconds);
      of_axis.harm.push_back(
          SizeOf(options.budget.metric, *levels[first + l].error));
    }
    // Of what breaks down even at its best, nothing is known.
    const double least = std::isfinite(of_axis.harm[0]) ? of_axis.harm[0] : 0;
    for (double& harm : of_axis.harm) harm = std::max(harm - least, 0.0);
    of_axis.harm[0] = 0;
    first += axis.levels.size();
    axis.levels = std::move(kept);
    model.costs.push_back(std::move(of_axis));
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
