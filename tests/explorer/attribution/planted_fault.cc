#include "tests/explorer/attribution/planted_fault.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/budget.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/decoder/decoder.h"
#include "model/trace/kept_states.h"
#include "tests/explorer/attribution/attributed.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;

Strategy FaultOf(Op op) {
  const Kernel kernel = OpKernel(op);
  auto fault = FindStrategy("bf16_acc", kernel);
  if (!fault.ok()) fault = FindStrategy("bf16", kernel);
  EXPECT_THAT(fault, IsOk());
  return *fault;
}

bool SameBits(Matrix<const double> a, Matrix<const double> b) {
  return std::memcmp(a.data, b.data, a.rows * a.cols * sizeof(double)) == 0;
}

// The names of the `count` cells of the largest figures, the largest first.
std::vector<std::string> Largest(
    std::vector<std::pair<double, std::string>> figures, size_t count) {
  std::stable_sort(
      figures.begin(), figures.end(),
      [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) names.push_back(figures[i].second);
  return names;
}

}  // namespace

std::vector<Cell> DrawnCells(const ModelConfig& config, size_t count,
                             Random& random) {
  std::vector<Cell> cells = CellsOf(config);
  for (size_t i = 0; i < count; ++i) {
    std::swap(cells[i], cells[i + random.Below(cells.size() - i)]);
  }
  cells.resize(count);
  return cells;
}

Plan WithFaults(Plan plan, absl::Span<const Cell> cells) {
  for (const Cell& cell : cells) {
    const Strategy fault = FaultOf(cell.op);
    plan.Set(cell.layer, cell.op,
             plan.Get(cell.layer, cell.op) == fault ? Strategy() : fault);
  }
  return plan;
}

Plan PlanWithFaults(size_t num_layers, absl::Span<const Cell> cells) {
  return WithFaults(Plan(num_layers), cells);
}

bool ResultsDiffer(const Weights& weights, const Plan& a, const Plan& b,
                   const std::vector<int32_t>& tokens, Parallel& parallel) {
  const auto run = [&](const Plan& plan) {
    Decoder decoder(weights, plan, tokens.size(), parallel);
    KeptStates trace(weights.config);
    EXPECT_THAT(decoder.Forward(tokens, Logits::kAll, &trace), IsOk());
    return trace;
  };
  const KeptStates first = run(a), second = run(b);
  const size_t last = first.num_layers();
  return !SameBits(first.State(last), second.State(last)) ||
         !SameBits(first.Logits(), second.Logits());
}

std::string CellName(const Cell& cell) {
  return absl::StrCat(OpName(cell.op), "@", cell.layer);
}

std::vector<std::string> LargestCauses(const Attribution& attribution,
                                       size_t count) {
  std::vector<std::pair<double, std::string>> figures;
  for (const Cause& cause : attribution.causes) {
    figures.emplace_back(*cause.effect.logits_rel_l2, CellName(cause.cell));
  }
  return Largest(std::move(figures), count);
}

std::vector<std::string> BestRepairs(const Attribution& attribution,
                                     size_t count) {
  std::vector<std::pair<double, std::string>> figures;
  for (const Repair& repair : attribution.repairs) {
    figures.emplace_back(*repair.logits_gain, CellName(repair.cell));
  }
  return Largest(std::move(figures), count);
}

std::vector<std::string> LargestMoves(const Attribution& attribution,
                                      size_t count) {
  std::vector<std::pair<double, std::string>> figures;
  for (const Repair& repair : attribution.repairs) {
    figures.emplace_back(*repair.logits_moved, CellName(repair.cell));
  }
  return Largest(std::move(figures), count);
}

std::vector<std::string> SmallestRepair(const Weights& weights,
                                        const Plan& plan, double plan_error,
                                        double f32_error,
                                        const std::vector<int32_t>& tokens,
                                        Parallel& parallel) {
  RepairOptions options;
  options.budget = {BudgetMetric::kLogitsRelL2,
                    std::sqrt(f32_error * plan_error)};
  options.strategies = {Strategy(), *FindStrategy("f64", Kernel::kMatMul)};
  const auto run = RunOf(weights, parallel);
  const auto result = FindRepair(run, BaselineOf(run, plan, tokens), options);
  EXPECT_THAT(result, IsOk());
  std::vector<std::string> cells;
  if (!result.ok()) return cells;
  EXPECT_TRUE(result->reached);
  for (const Upgrade& upgrade : result->repair.upgrades) {
    for (const size_t layer : upgrade.layers) {
      cells.push_back(CellName({layer, upgrade.op}));
    }
  }
  return cells;
}

}  // namespace ulpscope
