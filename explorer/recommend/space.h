#ifndef EXPLORER_RECOMMEND_SPACE_H_
#define EXPLORER_RECOMMEND_SPACE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "explorer/error/budget.h"
#include "explorer/sweep/axes.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// Cells that choose from the same strategies. What no axis has is f32.
struct SearchAxis {
  std::string selector;          // "matmul", "down_proj@22-23"
  std::vector<Strategy> levels;  // at least one, none of them emulated
  std::vector<Cell> cells;       // as they run; of overlapping axes the last's
};

// An op in neighbouring layers, which take one strategy.
struct SearchUnit {
  size_t axis = 0;
  Op op = Op::kEmbed;
  std::vector<size_t> layers;  // ascending; {0} if it is in none
  double share = 0;            // of the work of all of the axis' cells
};

// The most combinations that --axes may have for a search, which measures few
// of them.
inline constexpr size_t kMaxSearchedPlans = size_t{1} << 40;

// Every group of ops with the arithmetics that this CPU has for it, as
// ParseAxes reads them. Not those that only round where some other program
// does: no program would choose them for their speed.
std::string DefaultSearchAxes();

// The cells of each axis, without those that the metric does not see: what it
// does not see has no error to be chosen by. Axes that are left without cells
// are not there.
std::vector<SearchAxis> SearchAxesOf(const ModelConfig& config,
                                     const std::vector<Axis>& axes,
                                     BudgetMetric metric);

// The plan with these cells under a strategy.
Plan WithCells(const Plan& plan, absl::Span<const Cell> cells,
               Strategy strategy);
Plan WithUnit(const Plan& plan, const SearchUnit& unit, Strategy strategy);

// Every op of every axis that has a choice, in `blocks` ranges of about as many
// layers, or of one layer each if there are fewer.
std::vector<SearchUnit> UnitsOf(const ModelConfig& config,
                                const std::vector<SearchAxis>& axes,
                                size_t blocks);

// Entries of a plan that `plan` has and `other` has not, each of one op, one
// strategy and one range of layers: "down_proj@3-9=bf16_hw".
struct PlanDifference {
  std::string entry;
  std::vector<Cell> cells;
  Strategy strategy;  // the plan's
};
std::vector<PlanDifference> DifferencesOf(const ModelConfig& config,
                                          const Plan& plan, const Plan& other);

// About as many multiplications, or elements of what has none, as the op takes
// per token and layer: what its share of an axis' time is judged by.
double WorkOf(const ModelConfig& config, Op op);

}  // namespace ulpscope

#endif  // EXPLORER_RECOMMEND_SPACE_H_
