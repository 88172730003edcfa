#include "explorer/attribution/upgrade.h"

#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "explorer/sweep/axes.h"
#include "kernels/base/format.h"
#include "kernels/strategy/engine.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// The largest error of an operand when it is read, relative to it or, of
// blocks and rows that have a scale, to the largest of them.
double OperandError(const StrategyInfo& info) {
  if (info.engine == nullptr) return UnitRoundoff(info.operand);
  switch (info.engine->quantizer) {
    case Quantizer::kNone:
      break;
    case Quantizer::kBF16:
      return UnitRoundoff(Format::kBF16);
    case Quantizer::kF16:
      return UnitRoundoff(Format::kF16);
    case Quantizer::kTF32:
      return 0x1p-10;
    case Quantizer::kTF32Nearest:
      return 0x1p-11;
    case Quantizer::kE4M3:
    case Quantizer::kE4M3Blocks:
    case Quantizer::kMXFP8:
      return 0x1p-4;
    case Quantizer::kMXFP4:
    case Quantizer::kNVFP4:
      return 0x1p-2;
    case Quantizer::kInt8:
    case Quantizer::kGgml:
      return 0.5 / 127;
  }
  return UnitRoundoff(Format::kF32);
}

std::string LayersText(const std::vector<size_t>& layers, size_t from,
                       size_t to) {
  return from == to ? absl::StrCat("@", layers[from])
                    : absl::StrCat("@", layers[from], "-", layers[to]);
}

}  // namespace

double Inaccuracy(Strategy strategy) {
  const SumTerms sum = {1024, 32, 1024};
  return strategy.info().error_bound(sum) +
         2 * OperandError(strategy.info()) * sum.abs_terms;
}

size_t UpgradeSet::cells() const {
  size_t count = 0;
  for (const Upgrade& upgrade : upgrades) count += upgrade.layers.size();
  return count;
}

std::optional<double> UpgradeSet::instructions() const {
  double sum = 0;
  for (const Upgrade& upgrade : upgrades) {
    if (upgrade.strategy.info().emulated()) return std::nullopt;
    sum += static_cast<double>(upgrade.layers.size()) *
           upgrade.strategy.info().instructions_per_product;
  }
  return sum;
}

bool IsSmaller(const UpgradeSet& a, const UpgradeSet& b) {
  if (a.upgrades.size() != b.upgrades.size()) {
    return a.upgrades.size() < b.upgrades.size();
  }
  if (a.cells() != b.cells()) return a.cells() < b.cells();
  constexpr double kUnknown = std::numeric_limits<double>::infinity();
  const double of_a = a.instructions().value_or(kUnknown);
  const double of_b = b.instructions().value_or(kUnknown);
  if (of_a != of_b) return of_a < of_b;
  return a.error < b.error;
}

Plan WithUpgrades(const Plan& plan, const std::vector<Upgrade>& upgrades) {
  Plan upgraded = plan;
  for (const Upgrade& upgrade : upgrades) {
    for (const size_t layer : upgrade.layers) {
      upgraded.Set(layer, upgrade.op, upgrade.strategy);
    }
  }
  return upgraded;
}

std::vector<OpUpgrades> UpgradesOf(const ModelConfig& config, const Plan& plan,
                                   const std::vector<Strategy>& strategies) {
  const std::vector<Cell> cells = CellsOf(config);
  std::vector<OpUpgrades> all;
  for (size_t i = 0; i < kNumOps; ++i) {
    const Op op = OpAt(i);
    OpUpgrades of_op;
    for (const Strategy strategy : strategies) {
      if (!strategy.Takes(OpKernel(op)) || strategy.info().emulated()) continue;
      Upgrade upgrade = {op, strategy, {}};
      for (const Cell& cell : cells) {
        if (cell.op != op) continue;
        const Strategy own = plan.Get(cell.layer, op);
        if (!ComputeTheSame(op, strategy, own) &&
            Inaccuracy(strategy) < Inaccuracy(own)) {
          upgrade.layers.push_back(cell.layer);
        }
      }
      if (!upgrade.layers.empty()) of_op.push_back(std::move(upgrade));
    }
    if (!of_op.empty()) all.push_back(std::move(of_op));
  }
  return all;
}

std::vector<OpUpgrades> ReplacementsOf(const ModelConfig& config,
                                       const Plan& plan,
                                       const Plan& reference) {
  std::vector<Upgrade> replacements;
  for (size_t i = 0; i < kNumOps; ++i) {
    const size_t first = replacements.size();
    for (const Cell& cell : CellsOf(config)) {
      const Strategy strategy = reference.Get(cell.layer, cell.op);
      if (cell.op != OpAt(i) ||
          ComputeTheSame(cell.op, plan.Get(cell.layer, cell.op), strategy)) {
        continue;
      }
      size_t at = first;
      while (at < replacements.size() &&
             replacements[at].strategy != strategy) {
        ++at;
      }
      if (at == replacements.size()) {
        replacements.push_back({cell.op, strategy, {}});
      }
      replacements[at].layers.push_back(cell.layer);
    }
  }
  std::vector<OpUpgrades> all;
  for (Upgrade& replacement : replacements) {
    all.push_back({std::move(replacement)});
  }
  return all;
}

const Upgrade& Choose(const OpUpgrades& upgrades, const Strategy* strategy) {
  const Upgrade* best = &upgrades[0];
  for (const Upgrade& upgrade : upgrades) {
    if (strategy != nullptr && upgrade.strategy == *strategy) return upgrade;
    if (Inaccuracy(upgrade.strategy) < Inaccuracy(best->strategy)) {
      best = &upgrade;
    }
  }
  return *best;
}

std::vector<std::string> UpgradeEntries(const ModelConfig& config,
                                        const std::vector<Upgrade>& upgrades) {
  const std::vector<Cell> cells = CellsOf(config);
  // Whether the upgrades hold all of a group's cells, to one strategy.
  const auto is_whole = [&](Kernel group, Strategy strategy) {
    size_t all = 0, upgraded = 0;
    for (const Cell& cell : cells) all += OpKernel(cell.op) == group;
    for (const Upgrade& upgrade : upgrades) {
      if (OpKernel(upgrade.op) != group) continue;
      if (upgrade.strategy != strategy) return false;
      upgraded += upgrade.layers.size();
    }
    return upgraded == all;
  };
  const size_t num_layers = static_cast<size_t>(config.num_hidden_layers);
  std::vector<std::string> entries;
  for (const Upgrade& upgrade : upgrades) {
    const std::string value = absl::StrCat("=", upgrade.strategy.name());
    const Kernel group = OpKernel(upgrade.op);
    if (is_whole(group, upgrade.strategy)) {
      std::string entry = absl::StrCat(KernelName(group), value);
      if (!absl::c_linear_search(entries, entry)) {
        entries.push_back(std::move(entry));
      }
      continue;
    }
    const std::vector<size_t>& layers = upgrade.layers;
    if (!IsPerLayer(upgrade.op) || layers.size() == num_layers) {
      entries.push_back(absl::StrCat(OpName(upgrade.op), value));
      continue;
    }
    for (size_t from = 0; from < layers.size();) {
      size_t to = from;
      while (to + 1 < layers.size() && layers[to + 1] == layers[to] + 1) ++to;
      entries.push_back(absl::StrCat(OpName(upgrade.op),
                                     LayersText(layers, from, to), value));
      from = to + 1;
    }
  }
  return entries;
}

std::vector<Strategy> StrategiesOf(const std::vector<Axis>& axes) {
  std::vector<Strategy> strategies;
  for (const Axis& axis : axes) {
    for (const std::string& name : axis.levels) {
      for (size_t i = 0; i < Strategies().size(); ++i) {
        const Strategy strategy(i);
        if (strategy.name() == name && !strategy.info().emulated() &&
            !absl::c_linear_search(strategies, strategy)) {
          strategies.push_back(strategy);
        }
      }
    }
  }
  return strategies;
}

}  // namespace ulpscope
