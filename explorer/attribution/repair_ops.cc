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

}  // namespace

absl::Status FindOps(RepairSearch& search, std::vector<UpgradeSet>& working) {
  // Everything, to each op's best strategy or as far as possible to one.
  std::vector<Upgrades> candidates;
  const auto everything_to = [&search](const Strategy* strategy) {
    Upgrades upgrades;
    for (const OpUpgrades& of_op : search.choices()) {
      upgrades.push_back(Choose(of_op, strategy));
    }
    return upgrades;
  };
  candidates.push_back(everything_to(nullptr));
  for (const Strategy& strategy : search.strategies()) {
    candidates.push_back(everything_to(&strategy));
  }
  auto errors = search.Measure(candidates);
  if (!errors.ok()) return errors.status();
  const size_t best = static_cast<size_t>(
      std::min_element(errors->begin(), errors->end()) - errors->begin());
  search.result().best_error = (*errors)[best];
  const Upgrades everything = candidates[best];
  if (search.Keeps((*errors)[best])) {
    search.Accept(search.SetOf(everything, (*errors)[best]));
  }

  // Each op alone, to each strategy; and everything but it.
  candidates.clear();
  for (const OpUpgrades& of_op : search.choices()) {
    for (const Upgrade& upgrade : of_op) candidates.push_back({upgrade});
  }
  const size_t num_alone = candidates.size();
  if (everything.size() > 1) AddAllButOne(everything, candidates);
  errors = search.Measure(candidates);
  if (!errors.ok()) return errors.status();
  for (size_t i = 0; i < candidates.size(); ++i) {
    if ((*errors)[i] < search.result().best_error) {
      search.result().best_error = (*errors)[i];
      search.result().best_is_everything = false;
    }
    if (i < num_alone && search.Keeps((*errors)[i])) {
      working.push_back(search.SetOf(candidates[i], (*errors)[i]));
      search.Accept(working.back());
    }
  }
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
  std::vector<double> alone;
  for (size_t i = 0, at = 0; i < search.choices().size();
       at += search.choices()[i++].size()) {
    const auto first = errors->begin() + static_cast<ptrdiff_t>(at);
    alone.push_back(*std::min_element(
        first, first + static_cast<ptrdiff_t>(search.choices()[i].size())));
  }
  return FindSeveralOps(
      search, everything, alone,
      {errors->begin() + static_cast<ptrdiff_t>(num_alone), errors->end()},
      working);
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
