#include "explorer/recommend/space.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/budget.h"
#include "explorer/sweep/axes.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

// Others round where some framework or engine does.
constexpr absl::string_view kArithmetics[] = {
    "f32", "pairwise", "kahan", "dot2", "f64", "bf16", "bf16_hw", "f16"};

Strategy Named(absl::string_view name) {
  size_t index = 0;
  while (name != Strategies()[index].name) ++index;
  return Strategy(index);
}

// Which cells an entry of a plan sets.
std::vector<Cell> CellsOfSelector(const ModelConfig& config, const Axis& axis) {
  const size_t num_layers = static_cast<size_t>(config.num_hidden_layers);
  const auto with =
      Plan::Parse(absl::StrCat(axis.selector, "=", axis.levels[0]), num_layers);
  // Another background shows those that the entry leaves as they are.
  Plan background(num_layers);
  const Strategy strategy = Named(axis.levels[0]);
  const Strategy other = strategy == Strategy() ? Named("f64") : Strategy();
  std::vector<Cell> cells;
  for (const Cell& cell : CellsOf(config))
    background.Set(cell.layer, cell.op, other);
  const auto on =
      background.With(absl::StrCat(axis.selector, "=", axis.levels[0]));
  if (!with.ok() || !on.ok()) return cells;  // ParseAxes has refused it
  for (const Cell& cell : CellsOf(config)) {
    if (on->Get(cell.layer, cell.op) == strategy) cells.push_back(cell);
  }
  return cells;
}

bool Sees(BudgetMetric metric, Op op) {
  return metric != BudgetMetric::kRelL2 ||
         (op != Op::kFinalNorm && op != Op::kLmHead);
}

bool IsSame(const Cell& a, const Cell& b) {
  return a.layer == b.layer && a.op == b.op;
}

}  // namespace

std::string DefaultSearchAxes() {
  std::vector<std::string> axes;
  for (size_t k = 0; k < kNumKernels; ++k) {
    const Kernel kernel = static_cast<Kernel>(k);
    std::vector<absl::string_view> levels;
    for (const absl::string_view name : kArithmetics) {
      const Strategy strategy = Named(name);
      if (!strategy.Takes(kernel) || strategy.info().emulated()) continue;
      // A cache in f64 holds what one in f32 does.
      if (absl::c_any_of(levels, [&](absl::string_view other) {
            return ComputeTheSame(kernel, strategy, Named(other));
          })) {
        continue;
      }
      levels.push_back(name);
    }
    axes.push_back(
        absl::StrCat(KernelName(kernel), "=", absl::StrJoin(levels, ",")));
  }
  return absl::StrJoin(axes, ";");
}

std::vector<SearchAxis> SearchAxesOf(const ModelConfig& config,
                                     const std::vector<Axis>& axes,
                                     BudgetMetric metric) {
  std::vector<SearchAxis> all;
  for (const Axis& axis : axes) {
    SearchAxis searched = {axis.selector, {}, CellsOfSelector(config, axis)};
    for (const std::string& level : axis.levels) {
      searched.levels.push_back(Named(level));
    }
    for (SearchAxis& before : all) {
      before.cells.erase(
          std::remove_if(before.cells.begin(), before.cells.end(),
                         [&](const Cell& cell) {
                           return absl::c_any_of(searched.cells,
                                                 [&](const Cell& later) {
                                                   return IsSame(cell, later);
                                                 });
                         }),
          before.cells.end());
    }
    all.push_back(std::move(searched));
  }
  for (SearchAxis& axis : all) {
    axis.cells.erase(std::remove_if(axis.cells.begin(), axis.cells.end(),
                                    [&](const Cell& cell) {
                                      return !Sees(metric, cell.op);
                                    }),
                     axis.cells.end());
  }
  all.erase(
      std::remove_if(all.begin(), all.end(),
                     [](const SearchAxis& axis) { return axis.cells.empty(); }),
      all.end());
  return all;
}

Plan WithCells(const Plan& plan, absl::Span<const Cell> cells,
               Strategy strategy) {
  Plan with = plan;
  for (const Cell& cell : cells) with.Set(cell.layer, cell.op, strategy);
  return with;
}

Plan WithUnit(const Plan& plan, const SearchUnit& unit, Strategy strategy) {
  Plan with = plan;
  for (const size_t layer : unit.layers) with.Set(layer, unit.op, strategy);
  return with;
}

std::vector<SearchUnit> UnitsOf(const ModelConfig& config,
                                const std::vector<SearchAxis>& axes,
                                size_t blocks) {
  std::vector<SearchUnit> units;
  for (size_t a = 0; a < axes.size(); ++a) {
    if (axes[a].levels.size() < 2) continue;
    double work = 0;
    for (const Cell& cell : axes[a].cells) work += WorkOf(config, cell.op);
    for (size_t i = 0; i < kNumOps; ++i) {
      const Op op = OpAt(i);
      std::vector<size_t> layers;
      for (const Cell& cell : axes[a].cells) {
        if (cell.op == op) layers.push_back(cell.layer);
      }
      const size_t count = std::min(std::max<size_t>(blocks, 1), layers.size());
      for (size_t b = 0; b < count; ++b) {
        SearchUnit unit = {a, op, {}, 0};
        unit.layers.assign(
            layers.begin() + static_cast<ptrdiff_t>(b * layers.size() / count),
            layers.begin() +
                static_cast<ptrdiff_t>((b + 1) * layers.size() / count));
        unit.share =
            static_cast<double>(unit.layers.size()) * WorkOf(config, op) / work;
        units.push_back(std::move(unit));
      }
    }
  }
  return units;
}

std::vector<PlanDifference> DifferencesOf(const ModelConfig& config,
                                          const Plan& plan, const Plan& other) {
  const std::vector<Cell> cells = CellsOf(config);
  std::vector<PlanDifference> differences;
  for (size_t i = 0; i < kNumOps; ++i) {
    const size_t first = differences.size();
    for (const Cell& cell : cells) {
      if (cell.op != OpAt(i)) continue;
      const Strategy strategy = plan.Get(cell.layer, cell.op);
      if (ComputeTheSame(cell.op, strategy, other.Get(cell.layer, cell.op))) {
        continue;
      }
      if (differences.size() > first) {
        PlanDifference& last = differences.back();
        if (last.strategy == strategy &&
            last.cells.back().layer + 1 == cell.layer) {
          last.cells.push_back(cell);
          continue;
        }
      }
      differences.push_back({"", {cell}, strategy});
    }
  }
  for (PlanDifference& difference : differences) {
    const Op op = difference.cells[0].op;
    const size_t from = difference.cells.front().layer;
    const size_t to = difference.cells.back().layer;
    std::string layers;
    if (IsPerLayer(op) && difference.cells.size() <
                              static_cast<size_t>(config.num_hidden_layers)) {
      layers = from == to ? absl::StrCat("@", from)
                          : absl::StrCat("@", from, "-", to);
    }
    difference.entry =
        absl::StrCat(OpName(op), layers, "=", difference.strategy.name());
  }
  return differences;
}

double WorkOf(const ModelConfig& config, Op op) {
  const double hidden = config.hidden_size;
  const double inner = config.intermediate_size;
  const double queries =
      static_cast<double>(config.num_attention_heads) * config.head_dim;
  const double keys =
      static_cast<double>(config.num_key_value_heads) * config.head_dim;
  constexpr double kContext = 64;  // of a short prompt
  switch (op) {
    case Op::kQProj:
    case Op::kOProj:
      return hidden * queries;
    case Op::kKProj:
    case Op::kVProj:
      return hidden * keys;
    case Op::kQk:
    case Op::kAv:
      return kContext * queries;
    case Op::kGateProj:
    case Op::kUpProj:
    case Op::kDownProj:
      return hidden * inner;
    case Op::kLmHead:
      return hidden * config.vocab_size;
    case Op::kQNorm:
      return queries;
    case Op::kKNorm:
    case Op::kKvK:
    case Op::kKvV:
      return keys;
    case Op::kRope:
      return queries + keys;
    case Op::kSoftmax:
      return kContext * config.num_attention_heads;
    case Op::kSwiGlu:
      return inner;
    case Op::kEmbed:
    case Op::kInputNorm:
    case Op::kAttnResidual:
    case Op::kPostNorm:
    case Op::kMlpResidual:
    case Op::kFinalNorm:
      return hidden;
  }
  return 0;
}

}  // namespace ulpscope
