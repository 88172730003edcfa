#include "explorer/attribution/error_sets.h"

#include <cmath>
#include <cstddef>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_join.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/luck.h"
#include "explorer/error/effects.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "tests/explorer/attribution/attributed.h"
#include "tests/explorer/attribution/planted_fault.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;

// One divides the sums of squares, the other their roots: three roundings each.
void ExpectSame(double a, double b) { EXPECT_NEAR(a, b, 6 * 0x1p-53 * b); }

class ErrorSetsTest : public testing::Test {
 protected:
  Baseline Based(const Plan& plan) {
    return BaselineOf(RunOf(Tiny(), parallel_), plan, options_.tokens);
  }

  // Of the final hidden state.
  double ErrorOf(const Plan& plan) {
    const Baseline baseline = Based(plan);
    const auto outcome = OutcomeOfPlan(RunOf(Tiny(), parallel_), baseline);
    EXPECT_THAT(outcome, IsOk());
    return outcome->effect.rel_l2.value();
  }

  double KlOf(const Plan& plan) {
    const Baseline baseline = Based(plan);
    const auto outcome = OutcomeOfPlan(RunOf(Tiny(), parallel_), baseline);
    EXPECT_THAT(outcome, IsOk());
    return outcome->effect.kl.value();
  }

  ErrorSets Found(const Plan& plan) {
    const auto run = RunOf(Tiny(), parallel_);
    const Baseline baseline = Based(plan);
    AttributionParts parts;
    parts.layers = parts.causes = false;
    const auto attribution = Attribute(run, baseline, parts);
    EXPECT_THAT(attribution, IsOk());
    auto sets = FindSets(run, baseline, *attribution, strategies_);
    EXPECT_THAT(sets, IsOk());
    return sets.ok() ? *std::move(sets) : ErrorSets();
  }

  Parallel parallel_{2};
  AttributedWith options_ = TinyPrompt();
  std::vector<Strategy> strategies_ = {Strategy(), Named("kahan")};
  const size_t num_layers_ = Tiny().layers.size();
};

// An op with a fault in a range of layers, whose ends can be told from f32's
// own error: that op in that range is the set, none wider and none narrower.
TEST_F(ErrorSetsTest, PlantedSetsAreNamed) {
  constexpr size_t kSets = 20;
  Random random(3);
  const double f32_error = ErrorOf(Plan(num_layers_));
  std::vector<std::string> wrong;
  size_t planted = 0;
  for (size_t tries = 0; planted < kSets && tries < 200; ++tries) {
    const Cell cell = DrawnCells(Tiny().config, 1, random)[0];
    const size_t last = cell.layer + 1 + random.Below(3);
    if (!IsPerLayer(cell.op) || last > num_layers_) continue;
    std::vector<Cell> cells;
    for (size_t layer = cell.layer; layer <= last; ++layer) {
      cells.push_back({layer, cell.op});
    }
    const auto visible = [&](const Cell& one) {
      return ErrorOf(PlanWithFaults(num_layers_, {one})) >
             kVisibleFault * f32_error;
    };
    if (!visible(cells.front()) || !visible(cells.back())) continue;
    ++planted;
    const ErrorSets sets = Found(PlanWithFaults(num_layers_, cells));
    const std::string name =
        CellName(cells.front()) + "-" + std::to_string(last);
    if (!sets.whole.has_value() || sets.whole->ops != std::vector{cell.op} ||
        sets.whole->first_layer != cell.layer ||
        sets.whole->last_layer != last) {
      wrong.push_back(
          name + " as " +
          (sets.whole ? absl::StrJoin(sets.whole->entries, ",") : "none"));
      continue;
    }
    EXPECT_EQ(sets.whole->cells, cells.size());
    ASSERT_FALSE(sets.halving.empty());
    EXPECT_LE(sets.halving[0].cells, cells.size());
  }
  std::cout << planted << " sets planted, wrong: " << absl::StrJoin(wrong, "; ")
            << std::endl;
  EXPECT_EQ(planted, kSets);
  EXPECT_THAT(wrong, testing::IsEmpty());
}

// What is said of a set is what its plans have, each run alone.
TEST_F(ErrorSetsTest, FiguresAreThoseOfPlansRunAlone) {
  const Plan plan = Parsed("torch-bf16", Tiny());
  const double error = ErrorOf(plan);
  const ErrorSets sets = Found(plan);
  ASSERT_FALSE(sets.halving.empty());
  ASSERT_TRUE(sets.whole.has_value());
  for (const ErrorSet* set : {&sets.halving[0], &*sets.whole}) {
    const auto upgraded = plan.With(absl::StrJoin(set->entries, ","));
    ASSERT_THAT(upgraded, IsOk());
    ExpectSame(set->rel_l2, ErrorOf(*upgraded));
    EXPECT_LE(set->rel_l2, error / 2);
    Plan alone = Plan::Oracle(num_layers_);
    size_t cells = 0;
    for (const Cell& cell : CellsOf(Tiny().config)) {
      if (plan.SharesCell(*upgraded, cell.layer, cell.op)) continue;
      alone.TakeCell(plan, cell.layer, cell.op);
      ++cells;
    }
    EXPECT_EQ(set->cells, cells);
    ExpectSame(set->alone_rel_l2.value(), ErrorOf(alone));
    ExpectSame(set->kl.value(), KlOf(*upgraded));
    ExpectSame(set->alone_kl.value(), KlOf(alone));
  }
  EXPECT_LE(sets.whole->rel_l2, sets.halving[0].rel_l2);
  // Without one of its ops, the smallest no longer halves it.
  for (size_t left_out = 0; left_out < sets.halving[0].entries.size();
       ++left_out) {
    std::vector<std::string> entries = sets.halving[0].entries;
    entries.erase(entries.begin() + static_cast<ptrdiff_t>(left_out));
    const auto fewer = plan.With(absl::StrJoin(entries, ","));
    ASSERT_THAT(fewer, IsOk());
    EXPECT_GT(ErrorOf(*fewer), error / 2);
  }
  // The fewest cells first, and none twice.
  for (size_t i = 1; i < sets.halving.size(); ++i) {
    EXPECT_LE(sets.halving[i - 1].cells, sets.halving[i].cells);
    for (size_t j = 0; j < i; ++j) {
      EXPECT_NE(sets.halving[i].entries, sets.halving[j].entries);
    }
  }
  for (const GroupEffect& group : sets.groups) {
    EXPECT_EQ(group.ops.size() > 1, group.alone_rel_l2.has_value());
  }
}

// What all ops make in all layers is no set: it would accuse everybody.
TEST_F(ErrorSetsTest, AllOpsInAllLayersAreNotBehindAnError) {
  const Plan plan = Parsed("bf16", Tiny());
  const ErrorSets sets = Found(plan);
  ASSERT_FALSE(sets.halving.empty());
  EXPECT_FALSE(sets.whole.has_value());
  // There is one that halves it all the same, of some of the cells.
  EXPECT_LT(sets.halving[0].cells, CellsOf(Tiny().config).size());
}

TEST_F(ErrorSetsTest, OneCellIsNoSaturation) {
  const ErrorSets one =
      Found(PlanWithFaults(num_layers_, {{3, Op::kDownProj}}));
  EXPECT_FALSE(one.saturated);
  ASSERT_FALSE(one.halving.empty());
  EXPECT_EQ(one.halving[0].cells, 1u);
  EXPECT_THAT(one.halving[0].entries, ElementsAre("down_proj@3=f32"));
}

TEST_F(ErrorSetsTest, NothingIsFoundOfAnExactPlan) {
  const ErrorSets sets = Found(Plan::Oracle(num_layers_));
  EXPECT_TRUE(sets.groups.empty());
  EXPECT_FALSE(sets.whole.has_value());
  EXPECT_FALSE(sets.saturated);
}

// Stopped anywhere, it says in what, and has no more than the whole.
TEST_F(ErrorSetsTest, CanBeStopped) {
  const Plan plan = Parsed("torch-bf16", Tiny());
  const Baseline baseline = Based(plan);
  AttributionParts parts;
  parts.layers = parts.causes = false;
  const auto attribution = Attribute(RunOf(Tiny(), parallel_), baseline, parts);
  ASSERT_THAT(attribution, IsOk());
  std::vector<std::string> steps;
  for (size_t after = 0; after < 100000; after = 2 * after + 1) {
    TestMonitor monitor(after);
    const auto sets = FindSets(RunOf(Tiny(), parallel_, monitor), baseline,
                               *attribution, strategies_);
    ASSERT_THAT(sets, IsOk());
    if (sets->stopped_in.empty()) break;
    steps.push_back(sets->stopped_in);
  }
  EXPECT_FALSE(steps.empty());
}

// The dice of stochastic rounding differ, and a set that takes the error away
// does so whatever they are.
TEST_F(ErrorSetsTest, LuckHasARunPerSeedAndWindow) {
  const Plan plan = Parsed("torch-bf16,down_proj=f32", Tiny());
  const Baseline baseline = Based(plan);
  const ErrorSets sets = Found(plan);
  ASSERT_TRUE(sets.whole.has_value());
  const std::vector<std::vector<int32_t>> windows = {{5, 4, 3, 2}};
  const auto luck =
      TryLuck(RunOf(Tiny(), parallel_), baseline, *sets.whole, windows);
  ASSERT_THAT(luck, IsOk());
  ASSERT_EQ(luck->runs.size(), 5u);
  EXPECT_EQ(luck->runs[0].what, "bf16_sr1");
  EXPECT_NE(luck->runs[0].plan_rel_l2, luck->runs[1].plan_rel_l2);
  EXPECT_EQ(luck->runs[4].what, "window 2");
  ASSERT_TRUE(luck->left_high.has_value());
  EXPECT_LT(*luck->left_low, *luck->left);
  EXPECT_LT(*luck->left, *luck->left_high);
  EXPECT_EQ(*luck->distinguishable, *luck->left_high < 1);

  // The draws are of what ends in bf16, which the set's own entries replace.
  const std::string entries = absl::StrJoin(sets.whole->entries, ",");
  const Plan drawn =
      *plan.With("matmul=bf16_sr2,qk=bf16_sr2,av=bf16_sr2,down_proj=f32");
  ExpectSame(luck->runs[1].plan_rel_l2, ErrorOf(drawn));
  ExpectSame(luck->runs[1].rel_l2, ErrorOf(*drawn.With(entries)));
  options_.tokens = windows[0];
  ExpectSame(luck->runs[4].plan_rel_l2, ErrorOf(plan));
  ExpectSame(luck->runs[4].rel_l2, ErrorOf(*plan.With(entries)));

  // The plan's own run counts too: six logarithms, t of five degrees.
  std::vector<double> logs = {std::log(
      sets.whole->rel_l2 /
      *OutcomeOfPlan(RunOf(Tiny(), parallel_), baseline)->effect.rel_l2)};
  for (const LuckyRun& run : luck->runs) {
    logs.push_back(std::log(run.rel_l2 / run.plan_rel_l2));
  }
  double mean = 0, squares = 0;
  for (const double x : logs) mean += x / 6;
  for (const double x : logs) squares += (x - mean) * (x - mean);
  const double half = 2.5705818 * std::sqrt(squares / 5 / 6);
  EXPECT_NEAR(std::log(*luck->left), mean, 1e-12);
  EXPECT_NEAR(std::log(*luck->left_low), mean - half, 1e-6);
  EXPECT_NEAR(std::log(*luck->left_high), mean + half, 1e-6);
}

}  // namespace
}  // namespace ulpscope
