#include "explorer/repair.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "explorer/budget.h"
#include "explorer/upgrade.h"
#include "kernels/parallel.h"
#include "kernels/strategy.h"
#include "model/lockstep.h"
#include "model/op.h"
#include "model/plan.h"
#include "model/weights.h"

namespace ulpscope {
namespace {

using Upgrades = std::vector<Upgrade>;

// Sets of one op that keep the budget and whose layers are then narrowed: those
// of the least error, which most likely have layers to spare.
constexpr size_t kMostNarrowed = 6;

// Streams per pass where passes are tried until one holds a success: about one
// per layer of the models at hand.
constexpr size_t kStreamsPerTry = 32;

class Search {
 public:
  Search(const Weights& weights, const Plan& plan, const RepairOptions& options,
         Parallel& parallel, RepairResult& result)
      : options_(options),
        plan_(plan),
        result_(result),
        meter_(weights, options.budget.metric, options.tokens,
               LockstepOptionsOf(), parallel),
        choices_(UpgradesOf(weights.config, plan, options.strategies)) {
    if (options.budget.metric != BudgetMetric::kRelL2) return;
    // They come after what the metric compares.
    choices_.erase(std::remove_if(choices_.begin(), choices_.end(),
                                  [](const OpUpgrades& of_op) {
                                    return of_op[0].op == Op::kFinalNorm ||
                                           of_op[0].op == Op::kLmHead;
                                  }),
                   choices_.end());
  }

  // What was found until an error is in the result.
  absl::Status Run() {
    const absl::Status status = RunSteps();
    result_.streams = meter_.num_streams();
    result_.passes = meter_.num_passes();
    result_.stopped_in =
        absl::IsCancelled(status) ? std::string(step_) : std::string();
    return absl::IsCancelled(status) ? absl::OkStatus() : status;
  }

 private:
  absl::Status RunSteps();
  // Sets working_ to sets of the fewest ops; empty if none keeps the budget.
  absl::Status FindOps();
  absl::Status FindSeveralOps(const Upgrades& everything,
                              const std::vector<double>& alone,
                              const std::vector<double>& all_but);
  absl::Status Prune(UpgradeSet& set);
  absl::Status TryPairs(const std::vector<size_t>& needed,
                        const Upgrades& everything, UpgradeSet& set);
  absl::Status Narrow(UpgradeSet& set);
  absl::Status NarrowOne(size_t which, UpgradeSet& set);
  absl::Status TryStrategies(const UpgradeSet& set, bool same_layers,
                             std::vector<UpgradeSet>& working);
  absl::Status Confirm();

  absl::StatusOr<std::vector<double>> Measure(
      const std::vector<Upgrades>& candidates);
  bool Keeps(double error) const { return error <= options_.budget.limit; }
  UpgradeSet SetOf(const Upgrades& upgrades, double error) const {
    return {upgrades, WithUpgrades(plan_, upgrades), error};
  }
  LockstepOptions LockstepOptionsOf() const {
    LockstepOptions lockstep;
    lockstep.memory = options_.memory;
    lockstep.stop = options_.stop;
    if (options_.progress) {
      lockstep.progress = [this](size_t done, size_t total) {
        options_.progress(step_, done, total);
      };
    }
    return lockstep;
  }

  const RepairOptions& options_;
  const Plan& plan_;
  RepairResult& result_;
  absl::string_view step_ = "oracle";
  BudgetMeter meter_;
  std::vector<OpUpgrades> choices_;  // [ops that can be upgraded][strategies]
  std::vector<UpgradeSet> working_;
};

// Every set that keeps the budget and is better than the best so far is kept:
// it is what a stopped search has found.
absl::StatusOr<std::vector<double>> Search::Measure(
    const std::vector<Upgrades>& candidates) {
  std::vector<Plan> plans;
  plans.reserve(candidates.size());
  for (const Upgrades& upgrades : candidates) {
    plans.push_back(WithUpgrades(plan_, upgrades));
  }
  auto errors = meter_.Measure(plans);
  if (!errors.ok()) return errors;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!Keeps((*errors)[i])) continue;
    const UpgradeSet set = SetOf(candidates[i], (*errors)[i]);
    if (!result_.reached || IsSmaller(set, result_.repair))
      result_.repair = set;
    result_.reached = true;
  }
  return errors;
}

absl::Status Search::RunSteps() {
  absl::Status status = meter_.RunOracle();
  if (!status.ok()) return status;
  step_ = "the plan itself";
  const auto before = Measure({{}});
  if (!before.ok()) return before.status();
  result_.error_before = (*before)[0];
  result_.best_error = result_.error_before;
  if (result_.reached || choices_.empty()) return absl::OkStatus();

  step_ = "ops to upgrade";
  status = FindOps();
  if (!status.ok() || working_.empty()) return status;
  step_ = "layers to upgrade";
  for (UpgradeSet& set : working_) {
    status = Narrow(set);
    if (!status.ok()) return status;
  }
  const size_t count = working_.size();
  for (size_t i = 0; i < count; ++i) {
    status = TryStrategies(UpgradeSet(working_[i]), true, working_);
    if (!status.ok()) return status;
  }
  // One that was not narrowed may be smaller still.
  working_.push_back(result_.repair);
  std::stable_sort(working_.begin(), working_.end(), IsSmaller);
  result_.repair = working_[0];
  for (size_t i = 1; i < working_.size(); ++i) {
    const UpgradeSet& set = working_[i];
    const auto same = [&set](const UpgradeSet& other) {
      return other.plan == set.plan;
    };
    if (set.upgrades.size() == working_[0].upgrades.size() &&
        set.cells() == working_[0].cells() &&
        std::none_of(working_.begin(),
                     working_.begin() + static_cast<ptrdiff_t>(i), same)) {
      result_.alternatives.push_back(set);
    }
  }
  step_ = "confirmation";
  return Confirm();
}

absl::Status Search::FindOps() {
  // Everything, to each op's best strategy or as far as possible to one.
  std::vector<Upgrades> candidates;
  const auto everything_to = [this](const Strategy* strategy) {
    Upgrades upgrades;
    for (const OpUpgrades& of_op : choices_) {
      upgrades.push_back(Choose(of_op, strategy));
    }
    return upgrades;
  };
  candidates.push_back(everything_to(nullptr));
  for (const Strategy& strategy : options_.strategies) {
    candidates.push_back(everything_to(&strategy));
  }
  auto errors = Measure(candidates);
  if (!errors.ok()) return errors.status();
  const size_t best = static_cast<size_t>(
      std::min_element(errors->begin(), errors->end()) - errors->begin());
  result_.best_error = (*errors)[best];
  const Upgrades everything = candidates[best];

  // Each op alone, to each strategy; and everything but it.
  candidates.clear();
  for (const OpUpgrades& of_op : choices_) {
    for (const Upgrade& upgrade : of_op) candidates.push_back({upgrade});
  }
  const size_t num_alone = candidates.size();
  for (size_t i = 0; i < everything.size() && everything.size() > 1; ++i) {
    candidates.push_back(everything);
    candidates.back().erase(candidates.back().begin() +
                            static_cast<ptrdiff_t>(i));
  }
  errors = Measure(candidates);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if ((*errors)[i] < result_.best_error) {
      result_.best_error = (*errors)[i];
      result_.best_is_everything = false;
    }
    if (i < num_alone && Keeps((*errors)[i])) {
      working_.push_back(SetOf(candidates[i], (*errors)[i]));
    }
  }
  if (!working_.empty()) {
    std::stable_sort(working_.begin(), working_.end(),
                     [](const UpgradeSet& a, const UpgradeSet& b) {
                       return a.error < b.error;
                     });
    if (working_.size() > kMostNarrowed) {
      working_.erase(working_.begin() + kMostNarrowed, working_.end());
    }
    return absl::OkStatus();
  }
  if (!result_.reached) return absl::OkStatus();
  std::vector<double> alone;
  for (size_t i = 0, at = 0; i < choices_.size(); at += choices_[i++].size()) {
    const auto first = errors->begin() + static_cast<ptrdiff_t>(at);
    alone.push_back(*std::min_element(
        first, first + static_cast<ptrdiff_t>(choices_[i].size())));
  }
  return FindSeveralOps(
      everything, alone,
      {errors->begin() + static_cast<ptrdiff_t>(num_alone), errors->end()});
}

// The most harmful first, in two orders, until the budget is kept; then without
// what is not needed.
absl::Status Search::FindSeveralOps(const Upgrades& everything,
                                    const std::vector<double>& alone,
                                    const std::vector<double>& all_but) {
  const size_t n = everything.size();
  std::vector<size_t> by_harm(n);
  std::iota(by_harm.begin(), by_harm.end(), size_t{0});
  std::vector<size_t> by_gain = by_harm;
  std::stable_sort(by_harm.begin(), by_harm.end(),
                   [&](size_t a, size_t b) { return all_but[a] > all_but[b]; });
  std::stable_sort(by_gain.begin(), by_gain.end(),
                   [&](size_t a, size_t b) { return alone[a] < alone[b]; });
  std::vector<Upgrades> candidates;
  for (const std::vector<size_t>& order : {by_harm, by_gain}) {
    Upgrades upgrades;
    for (const size_t i : order) {
      upgrades.push_back(everything[i]);
      if (upgrades.size() > 1) candidates.push_back(upgrades);
    }
  }
  const auto errors = Measure(candidates);
  if (!errors.ok()) return errors.status();
  // Measure has kept the one of the fewest ops.
  UpgradeSet set = result_.repair;
  absl::Status status = Prune(set);
  if (!status.ok()) return status;
  std::vector<size_t> needed;
  for (size_t i = 0; i < n; ++i) {
    if (!Keeps(all_but[i])) needed.push_back(i);
  }
  if (set.upgrades.size() > 2 && needed.size() <= 2) {
    status = TryPairs(needed, everything, set);
    if (!status.ok()) return status;
  }
  working_.push_back(set);
  return TryStrategies(UpgradeSet(set), false, working_);
}

absl::Status Search::Prune(UpgradeSet& set) {
  while (set.upgrades.size() > 2) {
    std::vector<Upgrades> candidates;
    for (size_t i = 0; i < set.upgrades.size(); ++i) {
      candidates.push_back(set.upgrades);
      candidates.back().erase(candidates.back().begin() +
                              static_cast<ptrdiff_t>(i));
    }
    const auto errors = Measure(candidates);
    if (!errors.ok()) return errors.status();
    const size_t best = static_cast<size_t>(
        std::min_element(errors->begin(), errors->end()) - errors->begin());
    if (!Keeps((*errors)[best])) break;
    set = SetOf(candidates[best], (*errors)[best]);
  }
  return absl::OkStatus();
}

// All pairs that hold what everything else cannot do without.
absl::Status Search::TryPairs(const std::vector<size_t>& needed,
                              const Upgrades& everything, UpgradeSet& set) {
  std::vector<Upgrades> candidates;
  for (size_t i = 0; i < everything.size(); ++i) {
    for (size_t j = i + 1; j < everything.size(); ++j) {
      const auto is_in_pair = [i, j](size_t op) { return op == i || op == j; };
      if (std::all_of(needed.begin(), needed.end(), is_in_pair)) {
        candidates.push_back({everything[i], everything[j]});
      }
    }
  }
  const auto errors = Measure(candidates);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!Keeps((*errors)[i])) continue;
    const UpgradeSet pair = SetOf(candidates[i], (*errors)[i]);
    if (pair.upgrades.size() < set.upgrades.size() || pair.error < set.error) {
      set = pair;
    }
  }
  return absl::OkStatus();
}

absl::Status Search::Narrow(UpgradeSet& set) {
  // A range shrinks only while the others are as wide as they were: a second
  // round finds little, a third next to nothing.
  constexpr size_t kMostRounds = 3;
  for (size_t round = 0; round < kMostRounds; ++round) {
    const size_t cells = set.cells();
    for (size_t i = 0; i < set.upgrades.size(); ++i) {
      const absl::Status status = NarrowOne(i, set);
      if (!status.ok()) return status;
    }
    if (set.cells() == cells || set.upgrades.size() == 1) break;
  }
  return absl::OkStatus();
}

// To the shortest range of the op's layers that keeps the budget, and still
// does if it is extended to the first layer or to the last: rounding elsewhere
// lets a few layers win by luck.
absl::Status Search::NarrowOne(size_t which, UpgradeSet& set) {
  const std::vector<size_t> layers = set.upgrades[which].layers;
  const size_t n = layers.size();
  const auto with_range = [&](size_t begin, size_t end) {
    Upgrades upgrades = set.upgrades;
    upgrades[which].layers = {layers.begin() + static_cast<ptrdiff_t>(begin),
                              layers.begin() + static_cast<ptrdiff_t>(end)};
    return upgrades;
  };
  struct Range {
    size_t begin, end;
  };
  std::vector<Range> ranges;
  UpgradeSet best = set;
  // The best of the ranges from `from` on, measured up to `to`.
  const auto try_ranges = [&](size_t from, size_t to,
                              std::vector<double>* errors) {
    std::vector<Upgrades> candidates;
    for (size_t i = from; i < to; ++i) {
      candidates.push_back(with_range(ranges[i].begin, ranges[i].end));
    }
    const auto measured = Measure(candidates);
    if (!measured.ok()) return measured.status();
    for (size_t i = 0; i < candidates.size(); ++i) {
      const UpgradeSet narrowed = SetOf(candidates[i], (*measured)[i]);
      if (Keeps(narrowed.error) && IsSmaller(narrowed, best)) best = narrowed;
    }
    if (errors != nullptr) *errors = *measured;
    return absl::OkStatus();
  };

  for (size_t length = 1; length < n; ++length) {
    ranges.push_back({0, length});
    ranges.push_back({n - length, n});
  }
  if (ranges.empty()) return absl::OkStatus();
  std::vector<double> errors;
  absl::Status status = try_ranges(0, ranges.size(), &errors);
  if (!status.ok()) return status;
  std::vector<bool> may_begin(n, false), may_end(n + 1, false);
  may_begin[0] = may_end[n] = true;
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (!Keeps(errors[i])) continue;
    if (ranges[i].begin == 0) may_end[ranges[i].end] = true;
    if (ranges[i].end == n) may_begin[ranges[i].begin] = true;
  }

  const size_t longest =
      best.upgrades[which].layers.size() - 1;  // any shorter one is better
  ranges.clear();
  for (size_t length = 1; length <= longest; ++length) {
    for (size_t begin = 1; begin + length < n; ++begin) {
      if (may_begin[begin] && may_end[begin + length]) {
        ranges.push_back({begin, begin + length});
      }
    }
  }
  for (size_t from = 0; from < ranges.size();) {
    // Whole lengths.
    size_t to = from;
    while (to < ranges.size() &&
           (to - from < kStreamsPerTry ||
            ranges[to].end - ranges[to].begin ==
                ranges[to - 1].end - ranges[to - 1].begin)) {
      ++to;
    }
    const size_t cells = best.cells();
    status = try_ranges(from, to, nullptr);
    if (!status.ok()) return status;
    if (best.cells() < cells) break;
    from = to;
  }
  set = best;
  return absl::OkStatus();
}

// The set's ops under each strategy: in the same layers where it is better than
// the plan's own, or wherever it is. Adds those that keep the budget.
absl::Status Search::TryStrategies(const UpgradeSet& set, bool same_layers,
                                   std::vector<UpgradeSet>& working) {
  std::vector<Upgrades> candidates;
  for (const Strategy& strategy : options_.strategies) {
    Upgrades upgrades;
    for (const Upgrade& old : set.upgrades) {
      for (const OpUpgrades& of_op : choices_) {
        if (of_op[0].op != old.op) continue;
        const Upgrade& chosen = Choose(of_op, &strategy);
        upgrades.push_back(chosen);
        const auto can_be_upgraded = [&chosen](size_t layer) {
          return std::binary_search(chosen.layers.begin(), chosen.layers.end(),
                                    layer);
        };
        if (chosen.strategy != strategy) {
          upgrades.back() = old;
        } else if (same_layers &&
                   std::all_of(old.layers.begin(), old.layers.end(),
                               can_be_upgraded)) {
          upgrades.back().layers = old.layers;
        } else if (same_layers) {
          upgrades.back() = old;
        }
      }
    }
    if (!(WithUpgrades(plan_, upgrades) == set.plan)) {
      candidates.push_back(std::move(upgrades));
    }
  }
  if (candidates.empty()) return absl::OkStatus();
  const auto errors = Measure(candidates);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (Keeps((*errors)[i])) {
      working.push_back(SetOf(candidates[i], (*errors)[i]));
    }
  }
  return absl::OkStatus();
}

absl::Status Search::Confirm() {
  const auto errors = meter_.Measure({result_.repair.plan});
  if (!errors.ok()) return errors.status();
  result_.repair.error = (*errors)[0];
  if (Keeps(result_.repair.error)) return absl::OkStatus();
  // Only a strategy whose bits are not fixed can do that.
  return absl::InternalError(
      absl::StrCat("the plan ", result_.repair.plan.Text(), " has an error of ",
                   result_.repair.error, " alone, but kept ",
                   BudgetText(options_.budget), " among others"));
}

}  // namespace

absl::StatusOr<RepairResult> FindRepair(const Weights& weights,
                                        const Plan& plan,
                                        const RepairOptions& options,
                                        Parallel& parallel) {
  RepairResult result;
  result.budget = options.budget;
  result.strategies = options.strategies;
  result.error_before = std::numeric_limits<double>::quiet_NaN();
  result.best_error = result.error_before;
  result.repair.plan = plan;
  if (options.tokens.empty()) {
    return absl::InvalidArgumentError("no tokens to run");
  }
  const absl::Status status =
      Search(weights, plan, options, parallel, result).Run();
  if (!status.ok()) return status;
  result.entries = UpgradeEntries(weights.config, result.repair.upgrades);
  return result;
}

}  // namespace ulpscope
