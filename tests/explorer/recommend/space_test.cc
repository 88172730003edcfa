#include "explorer/recommend/space.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_join.h"
#include "explorer/error/budget.h"
#include "explorer/sweep/axes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/config.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

const ModelConfig& Config() { return LoadedOnce("synthetic:tiny").config; }

size_t NumLayers() { return static_cast<size_t>(Config().num_hidden_layers); }

std::vector<SearchAxis> AxesOf(const std::string& text,
                               BudgetMetric metric = BudgetMetric::kKl) {
  const auto axes = ParseAxes(text, NumLayers());
  EXPECT_THAT(axes, IsOk());
  return SearchAxesOf(Config(), *axes, metric);
}

TEST(SpaceTest, DefaultAxesAreOfThisCpuAndNoneIsEmulated) {
  const auto axes =
      ParseAxes(DefaultSearchAxes(), NumLayers(), kMaxSearchedPlans);
  ASSERT_THAT(axes, IsOk());
  ASSERT_EQ(axes->size(), kNumKernels);
  size_t cells = 0;
  for (const SearchAxis& axis :
       SearchAxesOf(Config(), *axes, BudgetMetric::kKl)) {
    cells += axis.cells.size();
    ASSERT_THAT(axis.levels, Not(IsEmpty()));
    EXPECT_EQ(axis.levels[0].name(), "f32");
    for (const Strategy level : axis.levels) {
      EXPECT_TRUE(level.Takes(OpKernel(axis.cells[0].op)));
      EXPECT_FALSE(level.info().emulated()) << level.name();
    }
  }
  EXPECT_EQ(cells, CellsOf(Config()).size());
}

TEST(SpaceTest, TheLastOfOverlappingAxesHasACell) {
  const auto axes = AxesOf("matmul=f32,bf16;down_proj@2=f32,f64");
  ASSERT_EQ(axes.size(), 2);
  ASSERT_EQ(axes[1].cells.size(), 1);
  EXPECT_EQ(axes[1].cells[0].layer, 2);
  for (const Cell& cell : axes[0].cells) {
    EXPECT_EQ(OpKernel(cell.op), Kernel::kMatMul);
    EXPECT_FALSE(cell.op == Op::kDownProj && cell.layer == 2);
  }
}

TEST(SpaceTest, WhatTheMetricDoesNotSeeIsNotSearched) {
  EXPECT_THAT(AxesOf("lm_head=f32,bf16", BudgetMetric::kRelL2), IsEmpty());
  EXPECT_EQ(AxesOf("lm_head=f32,bf16").size(), 1);
}

TEST(SpaceTest, UnitsShareTheWorkAndTheCellsOfTheirAxis) {
  const auto axes = AxesOf("matmul=f32,bf16;softmax=f32;residual=f32,kahan");
  for (const size_t blocks : {size_t{0}, size_t{1}, size_t{2}, size_t{100}}) {
    std::vector<double> shares(axes.size(), 0);
    std::vector<size_t> cells(axes.size(), 0);
    for (const SearchUnit& unit : UnitsOf(Config(), axes, blocks)) {
      shares[unit.axis] += unit.share;
      cells[unit.axis] += unit.layers.size();
    }
    EXPECT_NEAR(shares[0], 1, 1e-12);
    EXPECT_EQ(shares[1], 0);  // of one strategy
    EXPECT_NEAR(shares[2], 1, 1e-12);
    EXPECT_EQ(cells[0], axes[0].cells.size());
    EXPECT_EQ(cells[2], axes[2].cells.size());
  }
}

TEST(SpaceTest, DifferencesAreEntriesOfThePlan) {
  const auto plan = Plan::Parse(
      "down_proj@1-2=bf16,softmax=kahan,up_proj@2=f64,final_norm=f64",
      NumLayers());
  ASSERT_THAT(plan, IsOk());
  std::vector<std::string> entries;
  for (const PlanDifference& difference :
       DifferencesOf(Config(), *plan, Plan(NumLayers()))) {
    entries.push_back(difference.entry);
  }
  EXPECT_THAT(entries, ElementsAre("softmax=kahan", "up_proj@2=f64",
                                   NumLayers() == 2 ? "down_proj=bf16"
                                                    : "down_proj@1-2=bf16",
                                   "final_norm=f64"));
  const auto again = Plan::Parse(absl::StrJoin(entries, ","), NumLayers());
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->Text(), plan->Text());
}

}  // namespace
}  // namespace ulpscope
