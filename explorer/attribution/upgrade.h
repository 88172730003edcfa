#ifndef EXPLORER_ATTRIBUTION_UPGRADE_H_
#define EXPLORER_ATTRIBUTION_UPGRADE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/sweep/axes.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// Orders strategies by accuracy: the bound of a sum of 1024 products, the
// length of a small model's rows, of random signs, and the operands' errors,
// which bounds leave out.
double Inaccuracy(Strategy strategy);

// An op that takes a better strategy in these layers, {0} if it is in none.
struct Upgrade {
  Op op = Op::kEmbed;
  Strategy strategy;
  std::vector<size_t> layers;  // ascending
};

// Entries of a plan (Plan::Parse): "residual=f32" where a whole group takes the
// strategy in all layers, else "mlp_residual@3-21=f32".
std::vector<std::string> UpgradeEntries(const ModelConfig& config,
                                        const std::vector<Upgrade>& upgrades);

// Every strategy that the axes name, in their order, each once, but those that
// are emulated: nobody can take one for its speed, or knows what it costs.
std::vector<Strategy> StrategiesOf(const std::vector<Axis>& axes);

// All upgrades of one op: to each of the strategies that is better than the
// plan's own somewhere, in all layers where it is.
using OpUpgrades = std::vector<Upgrade>;

// Of every op that the model computes and that can be upgraded. Better is a
// lower error bound (StrategyInfo) of a sum, with that of its operands. What is
// emulated is no upgrade.
std::vector<OpUpgrades> UpgradesOf(const ModelConfig& config, const Plan& plan,
                                   const std::vector<Strategy>& strategies);

// The same where "better" is to be as the reference is: for every op of which
// the plans differ, its strategies there. Each has an element of its own: an op
// that the reference has under several is there several times, of different
// layers.
std::vector<OpUpgrades> ReplacementsOf(const ModelConfig& config,
                                       const Plan& plan, const Plan& reference);

// The upgrade to `strategy`, or else, and for null, to the most accurate one.
const Upgrade& Choose(const OpUpgrades& upgrades, const Strategy* strategy);

// A plan with upgrades.
struct UpgradeSet {
  std::vector<Upgrade> upgrades;  // of different ops
  Plan plan{0};                   // with them
  double error = 0;               // of that plan

  size_t cells() const;
  // Vector instructions per product, summed over the cells: a measure of cost.
  // None if a strategy is emulated, as a replacement may be.
  std::optional<double> instructions() const;
};

Plan WithUpgrades(const Plan& plan, const std::vector<Upgrade>& upgrades);

// Fewer ops, then fewer cells, then fewer instructions, of which there are none
// last, then less error.
bool IsSmaller(const UpgradeSet& a, const UpgradeSet& b);

}  // namespace ulpscope

#endif  // EXPLORER_ATTRIBUTION_UPGRADE_H_
