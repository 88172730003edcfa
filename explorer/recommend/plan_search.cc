#include "explorer/recommend/plan_search.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "explorer/error/budget.h"
#include "explorer/recommend/levels.h"
#include "explorer/recommend/recommendation.h"
#include "explorer/recommend/space.h"
#include "kernels/base/steady_clock.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// Plans that are run in one pass while it is searched.
constexpr size_t kBatch = 32;

// A plan whose expected error is beyond so many limits is not run.
constexpr double kSlack = 4;

// A batch without a better plan ends the improving, after so many.
constexpr size_t kMostFailures = 3;

constexpr double kInf = std::numeric_limits<double>::infinity();

}  // namespace

PlanSearch::PlanSearch(const SearchInput& input, BudgetMeter& meter)
    : input_(input),
      axes_(input.model.axes),
      costs_(input.model.costs),
      meter_(meter),
      start_(SteadySeconds()),
      base_(static_cast<size_t>(input_.config.num_hidden_layers)),
      base_seconds_(input_.model.f32_seconds) {
  size_t per_block = 0;
  for (size_t a = 0; a < axes_.size(); ++a) {
    const SearchAxis& axis = axes_[a];
    base_ = WithCells(base_, axis.cells, axis.levels[0]);
    base_seconds_ += costs_[a].seconds[0];
  }
  for (const SearchUnit& unit : UnitsOf(input_.config, axes_, 1)) {
    per_block += axes_[unit.axis].levels.size() - 1;
  }
  units_ = UnitsOf(input_.config, axes_,
                   input_.most_units / std::max<size_t>(per_block, 1));
}

Plan PlanSearch::PlanOf(const Choice& choice) const {
  Plan plan = base_;
  for (size_t u = 0; u < units_.size(); ++u) {
    if (choice[u] == 0) continue;
    const SearchAxis& axis = axes_[units_[u].axis];
    for (const size_t layer : units_[u].layers) {
      plan.Set(layer, units_[u].op, axis.levels[choice[u]]);
    }
  }
  return plan;
}

double PlanSearch::SecondsOf(const Choice& choice) const {
  double seconds = base_seconds_;
  for (size_t u = 0; u < units_.size(); ++u) {
    const std::vector<double>& of = costs_[units_[u].axis].seconds;
    seconds += units_[u].share * (of[choice[u]] - of[0]);
  }
  return seconds;
}

absl::Status PlanSearch::Measure(const std::vector<Choice>& choices) {
  std::vector<Choice> fresh;
  std::vector<Plan> plans;
  for (const Choice& choice : choices) {
    if (plans_.size() + plans.size() >= input_.most_plans) break;
    Plan plan = PlanOf(choice);
    if (!seen_.insert(plan.Text()).second) continue;
    fresh.push_back(choice);
    plans.push_back(std::move(plan));
  }
  if (plans.empty()) return absl::OkStatus();
  if (SteadySeconds() - start_ > input_.seconds) {
    out_of_time_ = true;
    return absl::OkStatus();
  }
  const auto errors = meter_.Measure(plans);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < plans.size(); ++i) {
    const size_t index = plans_.size();
    plans_.push_back({std::move(plans[i]), SecondsOf(fresh[i]), (*errors)[i]});
    choices_.push_back(std::move(fresh[i]));
    const SearchedPlan& plan = plans_.back();
    if (!least_ || plan.error < plans_[*least_].error) least_ = index;
    if (!Keeps(plan)) continue;
    if (!best_ || plan.seconds < plans_[*best_].seconds ||
        (plan.seconds == plans_[*best_].seconds &&
         plan.error < plans_[*best_].error)) {
      best_ = index;
    }
  }
  return absl::OkStatus();
}

absl::Status PlanSearch::MeasureUnits() {
  std::vector<Choice> singles = {Choice(units_.size(), 0)};
  for (size_t u = 0; u < units_.size(); ++u) {
    for (size_t l = 1; l < axes_[units_[u].axis].levels.size(); ++l) {
      singles.push_back(singles[0]);
      singles.back()[u] = l;
    }
  }
  const absl::Status status = Measure(singles);
  if (!status.ok()) return status;
  const BudgetMetric metric = input_.budget.metric;
  const double base = plans_.empty() ? 0 : SizeOf(metric, plans_[0].error);
  harm_.clear();
  for (const SearchUnit& unit : units_) {
    // Of a plan that was not measured: its part of the axis'.
    harm_.push_back(costs_[unit.axis].harm);
    for (double& harm : harm_.back()) harm *= unit.share;
  }
  for (size_t i = 1; i < plans_.size(); ++i) {
    for (size_t u = 0; u < units_.size(); ++u) {
      const size_t level = choices_[i][u];
      if (level == 0) continue;
      const double harm = SizeOf(metric, plans_[i].error) - base;
      harm_[u][level] = std::isnan(harm) ? kInf : std::max(harm, 0.0);
    }
  }
  return absl::OkStatus();
}

std::vector<PlanSearch::Choice> PlanSearch::Chain() const {
  struct Step {
    double rate;  // seconds that are won by the harm that is done
    size_t unit, level;
  };
  std::vector<Step> steps;
  for (size_t u = 0; u < units_.size(); ++u) {
    const std::vector<double>& seconds = costs_[units_[u].axis].seconds;
    const std::vector<double>& harm = harm_[u];
    // The next corner of the convex hull is where the most is won for the harm.
    for (size_t from = 0;;) {
      std::optional<Step> next;
      for (size_t to = 0; to < seconds.size(); ++to) {
        const double won = units_[u].share * (seconds[from] - seconds[to]);
        if (!(won > 0) || !std::isfinite(harm[to])) continue;
        const double more = harm[to] - harm[from];
        const double rate = more > 0 ? won / more : kInf;
        if (!next || rate > next->rate ||
            (rate == next->rate && seconds[to] < seconds[next->level])) {
          next = Step{rate, u, to};
        }
      }
      if (!next) break;
      steps.push_back(*next);
      from = next->level;
    }
  }
  absl::c_stable_sort(
      steps, [](const Step& a, const Step& b) { return a.rate > b.rate; });
  std::vector<Choice> chain = {Choice(units_.size(), 0)};
  for (const Step& step : steps) {
    chain.push_back(chain.back());
    chain.back()[step.unit] = step.level;
  }
  return chain;
}

absl::Status PlanSearch::RunChain() {
  const std::vector<Choice> chain = Chain();
  // Some points of all of it; then those between the fastest that keeps the
  // budget and the next.
  size_t begin = 0, end = chain.size() - 1;
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<Choice> points;
    std::vector<size_t> index;
    const size_t count = std::min(kBatch, end - begin + 1);
    for (size_t i = 0; i < count; ++i) {
      index.push_back(count == 1 ? end
                                 : begin + (end - begin) * i / (count - 1));
      points.push_back(chain[index.back()]);
    }
    const absl::Status status = Measure(points);
    if (!status.ok()) return status;
    if (!best_) break;
    size_t kept = begin, next = end;
    for (const size_t i : index) {
      if (SecondsOf(chain[i]) >= plans_[*best_].seconds) {
        kept = i;
      } else {
        next = i;
        break;
      }
    }
    if (next <= kept + 1) break;
    begin = kept;
    end = next;
  }
  return absl::OkStatus();
}

absl::Status PlanSearch::Improve() {
  size_t failures = 0;
  while (failures < kMostFailures && !out_of_time_ && !plans_.empty() &&
         plans_.size() < input_.most_plans) {
    const bool keeps = best_.has_value();
    const SearchedPlan from = plans_[keeps ? *best_ : *least_];
    const Choice start = choices_[keeps ? *best_ : *least_];
    const double size = SizeOf(input_.budget.metric, from.error);
    const double limit =
        kSlack * SizeOf(input_.budget.metric, input_.budget.limit);
    struct Move {
      double order;
      Choice choice;
    };
    std::vector<Move> moves;
    // `seconds` and `harm` are what the changes so far add.
    std::function<void(size_t, int, double, double, Choice&)> change =
        [&](size_t first, int left, double seconds, double harm,
            Choice& choice) {
          for (size_t u = first; u < units_.size(); ++u) {
            const auto& of = costs_[units_[u].axis].seconds;
            const size_t own = start[u];
            for (size_t l = 0; l < of.size(); ++l) {
              if (l == own) continue;
              const double with = seconds + units_[u].share * (of[l] - of[own]);
              const double worse = harm + harm_[u][l] - harm_[u][own];
              choice[u] = l;
              const bool better =
                  keeps ? with < -input_.least_gain * from.seconds &&
                              !(size + worse > limit)
                        : worse < 0;
              if (better) moves.push_back({keeps ? with : worse, choice});
              if (left > 1) change(u + 1, left - 1, with, worse, choice);
            }
            choice[u] = own;
          }
        };
    Choice choice = start;
    change(0, 2, 0, 0, choice);
    absl::c_stable_sort(
        moves, [](const Move& a, const Move& b) { return a.order < b.order; });
    std::vector<Choice> batch;
    for (const Move& move : moves) {
      if (batch.size() == kBatch) break;
      if (seen_.count(PlanOf(move.choice).Text()) == 0) {
        batch.push_back(move.choice);
      }
    }
    if (batch.empty()) break;
    const std::optional<size_t> best = best_, least = least_;
    const absl::Status status = Measure(batch);
    if (!status.ok()) return status;
    const bool improved = best_ != best || (!keeps && least_ != least);
    failures = improved ? 0 : failures + 1;
  }
  return absl::OkStatus();
}

bool PlanSearch::Halve() {
  if (plans_.empty()) return false;
  std::vector<SearchUnit> halves;
  std::vector<std::vector<double>> harm;
  std::vector<size_t> from;  // [halves]: the unit
  for (size_t u = 0; u < units_.size(); ++u) {
    const SearchUnit& unit = units_[u];
    const size_t middle = (unit.layers.size() + 1) / 2;
    for (size_t h = 0; h < std::min<size_t>(unit.layers.size(), 2); ++h) {
      const size_t begin = h == 0 ? 0 : middle;
      const size_t end = h == 0 ? middle : unit.layers.size();
      const double part = static_cast<double>(end - begin) /
                          static_cast<double>(unit.layers.size());
      SearchUnit half = unit;
      half.layers.assign(unit.layers.begin() + static_cast<ptrdiff_t>(begin),
                         unit.layers.begin() + static_cast<ptrdiff_t>(end));
      half.share *= part;
      harm.push_back(harm_[u]);
      for (double& x : harm.back()) x *= part;
      halves.push_back(std::move(half));
      from.push_back(u);
    }
  }
  if (halves.size() == units_.size()) return false;
  for (Choice& choice : choices_) {
    Choice of_halves;
    for (const size_t u : from) of_halves.push_back(choice[u]);
    choice = std::move(of_halves);
  }
  units_ = std::move(halves);
  harm_ = std::move(harm);
  return true;
}

absl::Status PlanSearch::RunAllFaster() {
  const size_t room =
      input_.most_plans - std::min(input_.most_plans, plans_.size());
  const double limit =
      best_ ? (1 - input_.least_gain) * plans_[*best_].seconds : kInf;
  // What the units from one on take at least, beyond the base.
  std::vector<double> least(units_.size() + 1, 0);
  for (size_t u = units_.size(); u-- > 0;) {
    const std::vector<double>& of = costs_[units_[u].axis].seconds;
    least[u] =
        least[u + 1] + units_[u].share * (*absl::c_min_element(of) - of[0]);
  }
  std::vector<Choice> faster;
  Choice choice(units_.size(), 0);
  // False if there are too many.
  std::function<bool(size_t, double)> choose = [&](size_t u, double seconds) {
    if (!(seconds + least[u] < limit)) return true;
    if (u == units_.size()) {
      if (seen_.count(PlanOf(choice).Text()) == 0) faster.push_back(choice);
      return faster.size() <= room;
    }
    const std::vector<double>& of = costs_[units_[u].axis].seconds;
    for (size_t l = 0; l < of.size(); ++l) {
      choice[u] = l;
      if (!choose(u + 1, seconds + units_[u].share * (of[l] - of[0]))) {
        return false;
      }
    }
    choice[u] = 0;
    return true;
  };
  if (!choose(0, base_seconds_)) return absl::OkStatus();
  absl::c_stable_sort(faster, [&](const Choice& a, const Choice& b) {
    return SecondsOf(a) < SecondsOf(b);
  });
  const std::optional<size_t> before = best_;
  for (size_t i = 0; i < faster.size() && best_ == before; i += kBatch) {
    const size_t end = std::min(i + kBatch, faster.size());
    const absl::Status status =
        Measure({faster.begin() + static_cast<ptrdiff_t>(i),
                 faster.begin() + static_cast<ptrdiff_t>(end)});
    if (!status.ok() || out_of_time_) return status;
  }
  complete_ = true;
  return absl::OkStatus();
}

absl::Status PlanSearch::Run() {
  absl::Status status = MeasureUnits();
  if (status.ok()) status = RunChain();
  do {
    if (status.ok()) status = Improve();
  } while (status.ok() && !out_of_time_ && plans_.size() < input_.most_plans &&
           Halve());
  if (status.ok() && !out_of_time_) status = RunAllFaster();
  return status;
}

}  // namespace ulpscope
