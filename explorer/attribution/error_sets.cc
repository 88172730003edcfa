#include "explorer/attribution/error_sets.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "explorer/attribution/attribution_parts.h"
#include "explorer/attribution/range_search.h"
#include "explorer/attribution/set_groups.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/baseline.h"
#include "explorer/error/budget.h"
#include "explorer/error/run.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// What a repair has to leave at most of the plan's error.
constexpr double kHalf = 0.5;

// Of the orders of magnitude by which a group's upgrade in all layers lowers
// the error, the part that its range in `whole` has: a layer that makes an
// equal part of ten of the error is not left out, and chance is.
constexpr double kNearlyAll = 0.9;

// Groups whose layers are narrowed, those of the fewest ops, and sets whose
// ops are dropped, those of the fewest cells.
constexpr size_t kMostNarrowed = 5;
constexpr size_t kMostPruned = 2;

// Whether a single repair halves the error.
bool AnyHalves(const std::vector<Repair>& repairs) {
  return absl::c_any_of(repairs, [](const Repair& repair) {
    return repair.gain.has_value() && *repair.gain >= 1 - kHalf;
  });
}

// A group's upgrades, in ranges of the layers where there are any.
struct Candidate {
  std::string group;
  std::vector<Upgrade> upgrades;  // in all layers
  std::vector<size_t> layers;     // ascending
  double in_all = 0;              // the error with all of them

  std::vector<Upgrade> In(const IndexRange& range) const {
    std::vector<Upgrade> some;
    for (Upgrade upgrade : upgrades) {
      upgrade.layers.erase(
          std::remove_if(upgrade.layers.begin(), upgrade.layers.end(),
                         [&](size_t layer) {
                           return layer < layers[range.begin] ||
                                  layer > layers[range.end - 1];
                         }),
          upgrade.layers.end());
      if (!upgrade.layers.empty()) some.push_back(std::move(upgrade));
    }
    return some;
  }
};

size_t CellsIn(const std::vector<Upgrade>& upgrades) {
  size_t cells = 0;
  for (const Upgrade& upgrade : upgrades) cells += upgrade.layers.size();
  return cells;
}

std::vector<Op> OpsIn(const std::vector<Upgrade>& upgrades) {
  std::vector<Op> ops;
  for (const Upgrade& upgrade : upgrades) {
    if (!absl::c_linear_search(ops, upgrade.op)) ops.push_back(upgrade.op);
  }
  return ops;
}

// A set that was found, with what it upgrades.
struct Found {
  ErrorSet set;
  std::vector<Upgrade> upgrades;
};

class SetSearch {
 public:
  SetSearch(const Run& run, const Baseline& baseline,
            const std::vector<Strategy>& strategies)
      : config_(run.weights.config),
        baseline_(baseline),
        meter_(run.Without(baseline.bytes), baseline, BudgetMetric::kRelL2,
               kTask, [this] { return std::string(step_); }),
        kl_meter_(run.Without(baseline.bytes), baseline, BudgetMetric::kKl,
                  kTask, [this] { return std::string(step_); }) {
    const bool to_oracle = baseline.is_against_oracle();
    choices_ = to_oracle ? UpgradesOf(config_, baseline.plan, strategies)
                         : ReplacementsOf(config_, baseline.plan,
                                          baseline.reference_plan);
    if (to_oracle && !strategies.empty()) strategy_ = strategies.front();
  }

  absl::Status Search(double error, ErrorSets& sets) {
    limit_ = kHalf * error;
    step_ = "groups of ops";
    absl::Status status = MeasureGroups(sets);
    if (!status.ok() || candidates_.empty()) return status;
    step_ = "their layers";
    std::vector<Found> found;
    status = NarrowLayers(found);
    if (!status.ok()) return status;
    step_ = "their ops";
    for (size_t i = 0; i < std::min(found.size(), kMostPruned); ++i) {
      status = DropOps(found[i]);
      if (!status.ok()) return status;
    }
    SortByCells(found);
    // The same cells may be left of two groups.
    std::vector<Found> halving;
    for (Found& one : found) {
      const bool known = absl::c_any_of(halving, [&](const Found& other) {
        return other.set.entries == one.set.entries;
      });
      if (!known) halving.push_back(std::move(one));
    }
    step_ = "what the first comes from";
    std::optional<Found> whole;
    status = FindWhole(error, halving.front(), whole);
    if (!status.ok()) return status;
    step_ = "what they do to the logits";
    status = Finish(halving, whole);
    for (Found& one : halving) sets.halving.push_back(std::move(one.set));
    if (whole.has_value()) sets.whole = std::move(whole->set);
    return status;
  }

  static constexpr char kTask[] = "attribution: sets of cells";
  absl::string_view step() const { return step_; }

 private:
  Plan Upgraded(const std::vector<Upgrade>& upgrades) const {
    return WithUpgrades(baseline_.plan, upgrades);
  }

  // The reference, and the plan at these cells.
  Plan Alone(const std::vector<Upgrade>& upgrades) const {
    Plan alone = baseline_.reference_plan;
    for (const Upgrade& upgrade : upgrades) {
      for (const size_t layer : upgrade.layers) {
        alone.TakeCell(baseline_.plan, layer, upgrade.op);
      }
    }
    return alone;
  }

  // Every group in all layers, upgraded and alone; those that halve the error
  // become candidates.
  absl::Status MeasureGroups(ErrorSets& sets) {
    std::vector<Candidate> all;
    std::vector<Plan> plans;
    for (const OpGroup& group : OpGroupsOf(config_)) {
      Candidate candidate = {group.name, {}, {}, 0};
      for (const OpUpgrades& of_op : choices_) {
        if (!absl::c_linear_search(group.ops, of_op[0].op)) continue;
        candidate.upgrades.push_back(
            Choose(of_op, strategy_.has_value() ? &*strategy_ : nullptr));
        const std::vector<size_t>& layers = candidate.upgrades.back().layers;
        candidate.layers.insert(candidate.layers.end(), layers.begin(),
                                layers.end());
      }
      if (candidate.upgrades.empty()) continue;
      absl::c_sort(candidate.layers);
      candidate.layers.erase(
          std::unique(candidate.layers.begin(), candidate.layers.end()),
          candidate.layers.end());
      Plan plan = Upgraded(candidate.upgrades);
      // A group of several may have one that can be upgraded.
      if (absl::c_linear_search(plans, plan)) continue;
      plans.push_back(std::move(plan));
      all.push_back(std::move(candidate));
    }
    std::vector<size_t> alone_of;  // [plans] behind those of all
    for (size_t i = 0; i < all.size(); ++i) {
      if (OpsIn(all[i].upgrades).size() < 2) continue;
      alone_of.push_back(i);
      plans.push_back(Alone(all[i].upgrades));
    }
    const auto errors = meter_.Measure(plans);
    if (!errors.ok()) return errors.status();
    for (size_t i = 0; i < all.size(); ++i) {
      all[i].in_all = (*errors)[i];
      sets.groups.push_back(
          {all[i].group, OpsIn(all[i].upgrades), (*errors)[i], {}});
      if ((*errors)[i] <= limit_) candidates_.push_back(all[i]);
    }
    for (size_t i = 0; i < alone_of.size(); ++i) {
      sets.groups[alone_of[i]].alone_rel_l2 = (*errors)[all.size() + i];
    }
    absl::c_stable_sort(candidates_, [](const auto& a, const auto& b) {
      const size_t of_a = OpsIn(a.upgrades).size();
      const size_t of_b = OpsIn(b.upgrades).size();
      return of_a != of_b ? of_a < of_b : a.in_all < b.in_all;
    });
    if (candidates_.size() > kMostNarrowed) candidates_.resize(kMostNarrowed);
    return absl::OkStatus();
  }

  // The shortest range of each candidate that keeps its limit.
  absl::StatusOr<std::vector<KeptRange>> Narrowed(
      const std::vector<const Candidate*>& candidates,
      const std::vector<double>& limits) {
    std::vector<RangeTask> tasks;
    for (size_t i = 0; i < candidates.size(); ++i) {
      tasks.push_back(
          {candidates[i]->layers.size(), limits[i], candidates[i]->in_all});
    }
    return ShortestRanges(tasks, [&](const std::vector<TaskRange>& ranges) {
      std::vector<Plan> plans;
      for (const TaskRange& range : ranges) {
        plans.push_back(Upgraded(candidates[range.task]->In(range.range)));
      }
      return meter_.Measure(plans);
    });
  }

  Found Named(const Candidate& candidate, const IndexRange& range,
              double error) const {
    Found found;
    found.set.group = candidate.group;
    found.set.rel_l2 = error;
    found.upgrades = candidate.In(range);
    Describe(found);
    return found;
  }

  // What follows from the upgrades.
  void Describe(Found& found) const {
    ErrorSet& set = found.set;
    set.ops = OpsIn(found.upgrades);
    set.cells = CellsIn(found.upgrades);
    set.entries = UpgradeEntries(config_, found.upgrades);
    set.first_layer = baseline_.num_layers();
    set.last_layer = 0;
    for (const Upgrade& upgrade : found.upgrades) {
      set.first_layer = std::min(set.first_layer, upgrade.layers.front());
      set.last_layer = std::max(set.last_layer, upgrade.layers.back());
    }
  }

  static void SortByCells(std::vector<Found>& found) {
    absl::c_stable_sort(found, [](const Found& a, const Found& b) {
      return a.set.cells != b.set.cells ? a.set.cells < b.set.cells
                                        : a.set.rel_l2 < b.set.rel_l2;
    });
  }

  absl::Status NarrowLayers(std::vector<Found>& found) {
    std::vector<const Candidate*> all;
    for (const Candidate& candidate : candidates_) all.push_back(&candidate);
    const auto ranges = Narrowed(all, std::vector<double>(all.size(), limit_));
    if (!ranges.ok()) return ranges.status();
    for (size_t i = 0; i < all.size(); ++i) {
      found.push_back(Named(*all[i], (*ranges)[i].range, (*ranges)[i].error));
    }
    SortByCells(found);
    return absl::OkStatus();
  }

  // Leaves out ops while the error stays halved: in each round those without
  // which it is least, as many as can go together.
  absl::Status DropOps(Found& found) {
    while (found.upgrades.size() > 1) {
      std::vector<std::vector<Upgrade>> fewer;
      for (size_t i = 0; i < found.upgrades.size(); ++i) {
        fewer.push_back(Without(found.upgrades, i));
      }
      const auto errors = Errors(fewer);
      if (!errors.ok()) return errors.status();
      std::vector<size_t> needless;
      for (size_t i = 0; i < fewer.size(); ++i) {
        if ((*errors)[i] <= limit_) needless.push_back(i);
      }
      if (needless.empty()) break;
      absl::c_stable_sort(needless, [&errors](size_t a, size_t b) {
        return (*errors)[a] < (*errors)[b];
      });
      std::vector<Upgrade> best = fewer[needless[0]];
      double error = (*errors)[needless[0]];
      // The first two of them, the first three, ...
      std::vector<std::vector<Upgrade>> together;
      std::vector<Upgrade> left = best;
      for (size_t i = 1; i < needless.size() && left.size() > 1; ++i) {
        const Op op = found.upgrades[needless[i]].op;
        left.erase(std::remove_if(left.begin(), left.end(),
                                  [op](const Upgrade& upgrade) {
                                    return upgrade.op == op;
                                  }),
                   left.end());
        together.push_back(left);
      }
      const auto of_together = Errors(together);
      if (!of_together.ok()) return of_together.status();
      for (size_t i = 0; i < together.size(); ++i) {
        if (together[i].empty() || !((*of_together)[i] <= limit_)) continue;
        best = together[i];
        error = (*of_together)[i];
      }
      found.upgrades = std::move(best);
      found.set.rel_l2 = error;
    }
    Describe(found);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<double>> Errors(
      const std::vector<std::vector<Upgrade>>& sets) {
    if (sets.empty()) return std::vector<double>();
    std::vector<Plan> plans;
    for (const std::vector<Upgrade>& upgrades : sets) {
      plans.push_back(Upgraded(upgrades));
    }
    return meter_.Measure(plans);
  }

  static std::vector<Upgrade> Without(std::vector<Upgrade> upgrades, size_t i) {
    upgrades.erase(upgrades.begin() + static_cast<ptrdiff_t>(i));
    return upgrades;
  }

  // Whether these are all ops in all layers: then it says no more than that
  // the plan rounds.
  bool IsEverything(const Found& found) const {
    const auto is_in_layers = [](const OpUpgrades& of_op) {
      const Op op = of_op[0].op;
      return op != Op::kFinalNorm && op != Op::kLmHead;
    };
    const auto ops =
        static_cast<size_t>(absl::c_count_if(choices_, is_in_layers));
    return ops > 1 && found.set.ops.size() == ops &&
           found.set.first_layer <= 1 &&
           found.set.last_layer == baseline_.num_layers();
  }

  // The range of the same group that has nearly all of what it can gain.
  absl::Status FindWhole(double error, const Found& first,
                         std::optional<Found>& whole) {
    for (const Candidate& candidate : candidates_) {
      if (candidate.group != first.set.group) continue;
      const double limit =
          error * std::pow(candidate.in_all / error, kNearlyAll);
      const auto ranges = Narrowed({&candidate}, {limit});
      if (!ranges.ok()) return ranges.status();
      Found found =
          Named(candidate, ranges->front().range, ranges->front().error);
      if (!IsEverything(found)) whole = std::move(found);
    }
    return absl::OkStatus();
  }

  // Errors of the logits, and those of the sets alone.
  absl::Status Finish(std::vector<Found>& halving,
                      std::optional<Found>& whole) {
    std::vector<Found*> all = {&halving.front()};
    if (whole.has_value()) all.push_back(&*whole);
    std::vector<Plan> plans;
    for (const Found* found : all) {
      plans.push_back(Upgraded(found->upgrades));
      plans.push_back(Alone(found->upgrades));
    }
    const auto kl = kl_meter_.Measure(plans);
    if (!kl.ok()) return kl.status();
    std::vector<Plan> alone;
    for (size_t i = 1; i < plans.size(); i += 2) alone.push_back(plans[i]);
    const auto errors = meter_.Measure(alone);
    if (!errors.ok()) return errors.status();
    for (size_t i = 0; i < all.size(); ++i) {
      all[i]->set.kl = (*kl)[2 * i];
      all[i]->set.alone_kl = (*kl)[2 * i + 1];
      all[i]->set.alone_rel_l2 = (*errors)[i];
    }
    return absl::OkStatus();
  }

  const ModelConfig& config_;
  const Baseline& baseline_;
  absl::string_view step_;
  BudgetMeter meter_, kl_meter_;
  std::vector<OpUpgrades> choices_;
  std::optional<Strategy> strategy_;
  double limit_ = 0;
  std::vector<Candidate> candidates_;
};

}  // namespace

absl::StatusOr<ErrorSets> FindSets(const Run& run, const Baseline& baseline,
                                   const Attribution& attribution,
                                   const std::vector<Strategy>& strategies) {
  ErrorSets sets;
  const Effect& plan = attribution.plan;
  if (!plan.complete() || !(*plan.rel_l2 > 0) || !std::isfinite(*plan.rel_l2)) {
    return sets;
  }
  sets.saturated = !AnyHalves(attribution.repairs) &&
                   !AnyHalves(attribution.op_repairs) &&
                   !AnyHalves(attribution.group_repairs);
  SetSearch search(run, baseline, strategies);
  const absl::Status status = search.Search(*plan.rel_l2, sets);
  if (absl::IsCancelled(status)) {
    sets.stopped_in = std::string(search.step());
  } else if (!status.ok()) {
    return status;
  } else {
    run.monitor.OnProgress(SetSearch::kTask, 1, 1, "");
  }
  return sets;
}

}  // namespace ulpscope
