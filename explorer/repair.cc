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
// of the fewest layers and, of equally many, of the least error, which most
// likely has layers to spare.
constexpr size_t kMostNarrowed = 6;

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
  void Accept(const UpgradeSet& set);
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

absl::StatusOr<std::vector<double>> Search::Measure(
    const std::vector<Upgrades>& candidates) {
  std::vector<Plan> plans;
  plans.reserve(candidates.size());
  for (const Upgrades& upgrades : candidates) {
    plans.push_back(WithUpgrades(plan_, upgrades));
  }
  return meter_.Measure(plans);
}

// The smallest so far is what a search that is stopped has found.
void Search::Accept(const UpgradeSet& set) {
  if (!result_.reached || IsSmaller(set, result_.repair)) result_.repair = set;
  result_.reached = true;
}

absl::Status Search::RunSteps() {
  absl::Status status = meter_.RunOracle();
  if (!status.ok()) return status;
  step_ = "the plan itself";
  const auto before = Measure({{}});
  if (!before.ok()) return before.status();
  result_.error_before = (*before)[0];
  result_.best_error = result_.error_before;
  if (Keeps(result_.error_before)) Accept(SetOf({}, result_.error_before));
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
  if (Keeps(result_.best_error)) Accept(SetOf(everything, result_.best_error));

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
      Accept(working_.back());
    }
  }
  if (!working_.empty()) {
    std::stable_sort(working_.begin(), working_.end(),
                     [](const UpgradeSet& a, const UpgradeSet& b) {
                       return a.cells() != b.cells() ? a.cells() < b.cells()
                                                     : a.error < b.error;
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
      if (upgrades.size() > 1 && upgrades.size() < n) {
        candidates.push_back(upgrades);
      }
    }
  }
  const auto errors = Measure(candidates);
  if (!errors.ok()) return errors.status();
  // The shortest of which no longer one fails: what a few ops win by luck, more
  // of them lose again.
  UpgradeSet set = result_.repair;
  bool keeps = true;
  for (size_t i = candidates.size(); i-- > 0;) {
    keeps = (keeps || candidates[i].size() + 1 == n) && Keeps((*errors)[i]);
    const UpgradeSet shorter = SetOf(candidates[i], (*errors)[i]);
    if (keeps && IsSmaller(shorter, set)) set = shorter;
  }
  Accept(set);
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
  status = TryStrategies(UpgradeSet(set), false, working_);
  if (!status.ok()) return status;
  // Narrowing several ops takes long: of one set only, the cheapest.
  std::swap(working_[0],
            *std::min_element(working_.begin(), working_.end(), IsSmaller));
  working_.erase(working_.begin() + 1, working_.end());
  return absl::OkStatus();
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
    Accept(set);
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
  Accept(set);
  return absl::OkStatus();
}

absl::Status Search::Narrow(UpgradeSet& set) {
  // A range was narrowed while those after it were wide, and can hardly be
  // shorter when they are not.
  constexpr size_t kMostRounds = 2;
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

// To the shortest range of the op's layers that keeps the budget with every
// range that holds it. Without that condition a few layers win by luck: of
// torch-bf16 on synthetic:seed seven cells of seven ops brought an error of
// 0.14 to 0.02, which more layers of the same ops did not.
absl::Status Search::NarrowOne(size_t which, UpgradeSet& set) {
  const std::vector<size_t> layers = set.upgrades[which].layers;
  const size_t n = layers.size();
  if (n < 2) return absl::OkStatus();
  // errors[begin][end] with the layers of [begin, end).
  std::vector<std::vector<double>> errors(
      n, std::vector<double>(n + 1, std::numeric_limits<double>::infinity()));
  errors[0][n] = set.error;
  struct Range {
    size_t begin, end;
  };
  const auto with = [&](const Range& range) {
    Upgrades upgrades = set.upgrades;
    upgrades[which].layers = {
        layers.begin() + static_cast<ptrdiff_t>(range.begin),
        layers.begin() + static_cast<ptrdiff_t>(range.end)};
    return upgrades;
  };
  const auto measure = [&](const std::vector<Range>& ranges) {
    std::vector<Upgrades> candidates;
    for (const Range& range : ranges) candidates.push_back(with(range));
    const auto measured = Measure(candidates);
    if (!measured.ok()) return measured.status();
    for (size_t i = 0; i < ranges.size(); ++i) {
      errors[ranges[i].begin][ranges[i].end] = (*measured)[i];
    }
    return absl::OkStatus();
  };

  // First those with one end in place: they bound the other end.
  std::vector<Range> ranges;
  for (size_t i = 1; i < n; ++i) {
    ranges.push_back({0, i});
    ranges.push_back({i, n});
  }
  absl::Status status = measure(ranges);
  if (!status.ok()) return status;
  size_t first_end = n, last_begin = 0;
  while (first_end > 1 && Keeps(errors[0][first_end - 1])) --first_end;
  while (last_begin + 1 < n && Keeps(errors[last_begin + 1][n])) ++last_begin;
  ranges.clear();
  for (size_t begin = 1; begin <= last_begin; ++begin) {
    for (size_t end = std::max(first_end, begin + 1); end < n; ++end) {
      ranges.push_back({begin, end});
    }
  }
  if (!ranges.empty()) status = measure(ranges);
  if (!status.ok()) return status;

  // keeps[begin][end]: so do all ranges that hold it.
  std::vector<std::vector<bool>> keeps(n, std::vector<bool>(n + 1, false));
  UpgradeSet best = set;
  for (size_t begin = 0; begin < n; ++begin) {
    for (size_t end = n; end > begin; --end) {
      keeps[begin][end] = Keeps(errors[begin][end]) &&
                          (begin == 0 || keeps[begin - 1][end]) &&
                          (end == n || keeps[begin][end + 1]);
      if (!keeps[begin][end]) continue;
      const UpgradeSet narrowed = SetOf(with({begin, end}), errors[begin][end]);
      if (IsSmaller(narrowed, best)) best = narrowed;
    }
  }
  set = best;
  Accept(set);
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
      Accept(working.back());
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
