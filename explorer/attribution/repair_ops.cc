#include "explorer/attribution/repair_ops.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "explorer/attribution/repair_search.h"
#include "explorer/attribution/upgrade.h"
#include "kernels/strategy/strategy.h"

namespace ulpscope {
namespace {

using Upgrades = std::vector<Upgrade>;

// Sets of one op that keep the budget and whose layers are then narrowed: those
// of the fewest layers and, of equally many, of the least error, which most
// likely has layers to spare.
constexpr size_t kMostNarrowed = 6;

// The upgrades without one of them, for each.
void AddAllButOne(const Upgrades& upgrades, std::vector<Upgrades>& candidates) {
  for (size_t i = 0; i < upgrades.size(); ++i) {
    candidates.push_back(upgrades);
    candidates.back().erase(candidates.back().begin() +
                            static_cast<ptrdiff_t>(i));
  }
}

absl::Status Prune(RepairSearch& search, UpgradeSet& set) {
  while (set.upgrades.size() > 2) {
    std::vector<Upgrades> candidates;
    AddAllButOne(set.upgrades, candidates);
    const auto errors = search.Measure(candidates);
    if (!errors.ok()) return errors.status();
    const size_t best = static_cast<size_t>(
        std::min_element(errors->begin(), errors->end()) - errors->begin());
    if (!search.Keeps((*errors)[best])) break;
    set = search.SetOf(candidates[best], (*errors)[best]);
    search.Accept(set);
  }
  return absl::OkStatus();
}

// All pairs that hold what everything else cannot do without.
absl::Status TryPairs(RepairSearch& search, const std::vector<size_t>& needed,
                      const Upgrades& everything, UpgradeSet& set) {
  std::vector<Upgrades> candidates;
  for (size_t i = 0; i < everything.size(); ++i) {
    for (size_t j = i + 1; j < everything.size(); ++j) {
      const auto is_in_pair = [i, j](size_t op) { return op == i || op == j; };
      if (absl::c_all_of(needed, is_in_pair)) {
        candidates.push_back({everything[i], everything[j]});
      }
    }
  }
  const auto errors = search.Measure(candidates);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!search.Keeps((*errors)[i])) continue;
    const UpgradeSet pair = search.SetOf(candidates[i], (*errors)[i]);
    if (pair.upgrades.size() < set.upgrades.size() || pair.error < set.error) {
      set = pair;
    }
  }
  search.Accept(set);
  return absl::OkStatus();
}

// The most harmful first, in two orders, until the budget is kept; then without
// what is not needed.
absl::Status FindSeveralOps(RepairSearch& search, const Upgrades& everything,
                            const std::vector<double>& alone,
                            const std::vector<double>& all_but,
                            std::vector<UpgradeSet>& working) {
  const size_t n = everything.size();
  std::vector<size_t> by_harm(n);
  std::iota(by_harm.begin(), by_harm.end(), size_t{0});
  std::vector<size_t> by_gain = by_harm;
  absl::c_stable_sort(
      by_harm, [&](size_t a, size_t b) { return all_but[a] > all_but[b]; });
  absl::c_stable_sort(by_gain,
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
  const auto errors = search.Measure(candidates);
  if (!errors.ok()) return errors.status();
  // The shortest of which no longer one fails: what a few ops win by luck, more
  // of them lose again.
  UpgradeSet set = search.result().repair;
  bool keeps = true;
  for (size_t i = candidates.size(); i-- > 0;) {
    keeps =
        (keeps || candidates[i].size() + 1 == n) && search.Keeps((*errors)[i]);
    const UpgradeSet shorter = search.SetOf(candidates[i], (*errors)[i]);
    if (keeps && IsSmaller(shorter, set)) set = shorter;
  }
  search.Accept(set);
  absl::Status status = Prune(search, set);
  if (!status.ok()) return status;
  std::vector<size_t> needed;
  for (size_t i = 0; i < n; ++i) {
    if (!search.Keeps(all_but[i])) needed.push_back(i);
  }
  if (set.upgrades.size() > 2 && needed.size() <= 2) {
    status = TryPairs(search, needed, everything, set);
    if (!status.ok()) return status;
  }
  working.push_back(set);
  status = TryStrategies(search, UpgradeSet(set), false, working);
  if (!status.ok()) return status;
  // Narrowing several ops takes long: of one set only, the cheapest.
  std::swap(working[0], *absl::c_min_element(working, IsSmaller));
  working.erase(working.begin() + 1, working.end());
  return absl::OkStatus();
}

// Takes part in the least error that is known, and, if it is one op's that
// keeps the budget, in what is found.
void Consider(RepairSearch& search, const Upgrades& upgrades, double error,
              bool of_one_op, std::vector<UpgradeSet>& working) {
  if (error < search.result().best_error) {
    search.result().best_error = error;
    search.result().best_is_everything = false;
  }
  if (!of_one_op || !search.Keeps(error)) return;
  working.push_back(search.SetOf(upgrades, error));
  search.Accept(working.back());
}

// Sets `everything` to the upgrades of all ops that keep the budget at the
// least cost; if none do, to those of the least error. Each is to one strategy
// as far as possible, or to each op's best one.
absl::Status FindEverything(RepairSearch& search, Upgrades& everything) {
  std::vector<UpgradeSet> sets;
  const auto add = [&](const Strategy* strategy) {
    Upgrades upgrades;
    for (const OpUpgrades& of_op : search.choices()) {
      upgrades.push_back(Choose(of_op, strategy));
    }
    UpgradeSet set = search.SetOf(upgrades, 0);
    const bool known = absl::c_any_of(sets, [&set](const UpgradeSet& other) {
      return other.plan == set.plan;
    });
    if (!known) sets.push_back(std::move(set));
  };
  add(nullptr);
  for (const Strategy& strategy : search.strategies()) add(&strategy);
  absl::c_stable_sort(sets, IsSmaller);
  // The cheaper ones run faster, too: dearer ones are run if they do not do.
  bool first = true;
  for (const UpgradeSet& set : sets) {
    const auto errors = search.Measure({set.upgrades});
    if (!errors.ok()) return errors.status();
    const double error = (*errors)[0];
    if (first || error < search.result().best_error) {
      search.result().best_error = error;
      everything = set.upgrades;
    }
    first = false;
    if (!search.Keeps(error)) continue;
    everything = set.upgrades;
    search.Accept(search.SetOf(everything, error));
    break;
  }
  return absl::OkStatus();
}

// Each op alone under its other strategies, where they can do what the first
// one did not: other sums of the same format leave errors of a like size.
absl::Status TryOthersAlone(RepairSearch& search, const Upgrades& everything,
                            std::vector<double>& alone,
                            std::vector<UpgradeSet>& working) {
  constexpr double kLike = 16;
  std::vector<Upgrades> candidates;
  std::vector<size_t> op_of;
  for (size_t i = 0; i < everything.size(); ++i) {
    const double error = alone[i];
    if (search.Keeps(error) || error > kLike * search.options().budget.limit) {
      continue;
    }
    for (const Upgrade& upgrade : search.choices()[i]) {
      if (upgrade.strategy == everything[i].strategy) continue;
      candidates.push_back({upgrade});
      op_of.push_back(i);
    }
  }
  if (candidates.empty()) return absl::OkStatus();
  const auto errors = search.Measure(candidates);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < candidates.size(); ++i) {
    alone[op_of[i]] = std::min(alone[op_of[i]], (*errors)[i]);
    Consider(search, candidates[i], (*errors)[i], true, working);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FindOps(RepairSearch& search, std::vector<UpgradeSet>& working) {
  Upgrades everything;
  absl::Status status = FindEverything(search, everything);
  if (!status.ok()) return status;

  // Each op alone, as it is in everything, and everything but it.
  std::vector<Upgrades> candidates;
  for (const Upgrade& upgrade : everything) candidates.push_back({upgrade});
  const size_t num_ops = candidates.size();
  if (everything.size() > 1) AddAllButOne(everything, candidates);
  const auto errors = search.Measure(candidates);
  if (!errors.ok()) return errors.status();
  std::vector<double> alone(errors->begin(),
                            errors->begin() + static_cast<ptrdiff_t>(num_ops));
  const std::vector<double> all_but(
      errors->begin() + static_cast<ptrdiff_t>(num_ops), errors->end());
  for (size_t i = 0; i < candidates.size(); ++i) {
    Consider(search, candidates[i], (*errors)[i], i < num_ops, working);
  }
  status = TryOthersAlone(search, everything, alone, working);
  if (!status.ok()) return status;
  if (!working.empty()) {
    absl::c_stable_sort(working, [](const UpgradeSet& a, const UpgradeSet& b) {
      return a.cells() != b.cells() ? a.cells() < b.cells() : a.error < b.error;
    });
    if (working.size() > kMostNarrowed) {
      working.erase(working.begin() + kMostNarrowed, working.end());
    }
    return absl::OkStatus();
  }
  if (!search.result().reached) return absl::OkStatus();
  return FindSeveralOps(search, everything, alone, all_but, working);
}

absl::Status TryStrategies(RepairSearch& search, const UpgradeSet& set,
                           bool same_layers, std::vector<UpgradeSet>& working) {
  std::vector<Upgrades> candidates;
  for (const Strategy& strategy : search.strategies()) {
    Upgrades upgrades;
    for (const Upgrade& old : set.upgrades) {
      for (const OpUpgrades& of_op : search.choices()) {
        if (of_op[0].op != old.op) continue;
        const Upgrade& chosen = Choose(of_op, &strategy);
        upgrades.push_back(chosen);
        const auto can_be_upgraded = [&chosen](size_t layer) {
          return std::binary_search(chosen.layers.begin(), chosen.layers.end(),
                                    layer);
        };
        if (chosen.strategy != strategy) {
          upgrades.back() = old;
        } else if (same_layers && absl::c_all_of(old.layers, can_be_upgraded)) {
          upgrades.back().layers = old.layers;
        } else if (same_layers) {
          upgrades.back() = old;
        }
      }
    }
    if (!(WithUpgrades(search.plan(), upgrades) == set.plan)) {
      candidates.push_back(std::move(upgrades));
    }
  }
  if (candidates.empty()) return absl::OkStatus();
  const auto errors = search.Measure(candidates);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (search.Keeps((*errors)[i])) {
      working.push_back(search.SetOf(candidates[i], (*errors)[i]));
      search.Accept(working.back());
    }
  }
  return absl::OkStatus();
}

}  // namespace ulpscope
