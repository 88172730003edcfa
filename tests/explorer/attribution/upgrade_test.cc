#include "explorer/attribution/upgrade.h"

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "explorer/sweep/axes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "tests/explorer/attribution/attributed.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;

TEST(UpgradeTest, EntriesNameGroupsOpsAndRanges) {
  const Weights& weights = Tiny();
  std::vector<size_t> all;
  for (size_t i = 1; i <= weights.layers.size(); ++i) all.push_back(i);
  const std::vector<size_t> inner = {all.begin() + 1, all.end()};
  const Strategy kahan = Named("kahan"), f32;
  const auto entries = [&](const std::vector<Upgrade>& upgrades) {
    return absl::StrJoin(UpgradeEntries(weights.config, upgrades), ",");
  };
  EXPECT_EQ(entries({}), "");
  EXPECT_EQ(
      entries({{Op::kAttnResidual, f32, all}, {Op::kMlpResidual, f32, all}}),
      "residual=f32");
  EXPECT_EQ(
      entries({{Op::kAttnResidual, f32, all}, {Op::kMlpResidual, kahan, all}}),
      "attn_residual=f32,mlp_residual=kahan");
  EXPECT_EQ(
      entries({{Op::kAttnResidual, f32, all}, {Op::kMlpResidual, f32, inner}}),
      absl::StrCat("attn_residual=f32,mlp_residual@2-", all.back(), "=f32"));
  EXPECT_EQ(entries({{Op::kQProj, f32, {1, 3}}}), "q_proj@1=f32,q_proj@3=f32");
  EXPECT_EQ(entries({{Op::kSoftmax, kahan, all}, {Op::kLmHead, f32, {0}}}),
            "softmax=kahan,lm_head=f32");
}

TEST(UpgradeTest, StrategiesAreThoseOfTheAxes) {
  const auto axes = ParseAxes("matmul=f32,bf16;rmsnorm=kahan,f32", 4);
  ASSERT_THAT(axes, IsOk());
  EXPECT_THAT(StrategiesOf(*axes),
              ElementsAre(Named("f32"), Named("bf16"), Named("kahan")));
}

TEST(UpgradeTest, UpgradesAreBetterThanThePlan) {
  const Weights& weights = Tiny();
  const auto plan =
      Plan::Parse("matmul=bf16,q_proj@1=kahan,rmsnorm=kahan,residual=f32",
                  weights.layers.size());
  ASSERT_THAT(plan, IsOk());
  std::map<std::string, size_t> layers;
  for (const OpUpgrades& of_op :
       UpgradesOf(weights.config, *plan,
                  {Named("f32"), Named("kahan"), Named("bf16")})) {
    for (const Upgrade& upgrade : of_op) {
      layers[absl::StrCat(OpName(upgrade.op), "=", upgrade.strategy.name())] =
          upgrade.layers.size();
    }
  }
  const size_t n = weights.layers.size();
  EXPECT_EQ(layers["q_proj=f32"], n - 1);
  EXPECT_EQ(layers["q_proj=kahan"], n - 1);
  EXPECT_EQ(layers["down_proj=kahan"], n);
  EXPECT_EQ(layers["lm_head=f32"], 1u);
  EXPECT_EQ(layers["softmax=kahan"], n);
  EXPECT_EQ(layers["mlp_residual=kahan"], n);
  for (const char* none :
       {"q_proj=bf16", "input_norm=kahan", "softmax=f32", "rope=f32",
        "swiglu=bf16", "mlp_residual=f32", "q_norm=kahan"}) {
    EXPECT_EQ(layers.count(none), 0u) << none;
  }
}

TEST(UpgradeTest, WhatIsEmulatedIsNoUpgradeAndHasNoCost) {
  const Weights& weights = Tiny();
  const auto axes = ParseAxes("matmul=f32,tc_h100,bf16", 4);
  ASSERT_THAT(axes, IsOk());
  EXPECT_THAT(StrategiesOf(*axes), ElementsAre(Named("f32"), Named("bf16")));
  // But it can be upgraded, whatever its sums are worth: those of int8 are
  // exact, its operands are not.
  std::vector<Strategy> all;
  for (size_t i = 0; i < Strategies().size(); ++i) all.push_back(Strategy(i));
  const std::pair<const char*, Op> plans[] = {
      {"matmul=tc_h100", Op::kQProj}, {"matmul=fp8_h100", Op::kQProj},
      {"matmul=int8", Op::kQProj},    {"matmul=ggml", Op::kQProj},
      {"matmul=mxfp4", Op::kQProj},   {"kv=fp8", Op::kKvK},
      {"kv=q4_0", Op::kKvV}};
  for (const auto& [text, op] : plans) {
    const auto plan = Plan::Parse(text, weights.layers.size());
    ASSERT_THAT(plan, IsOk());
    bool upgraded = false;
    for (const OpUpgrades& of_op : UpgradesOf(weights.config, *plan, all)) {
      for (const Upgrade& upgrade : of_op) {
        EXPECT_FALSE(upgrade.strategy.info().emulated());
        upgraded =
            upgraded || (upgrade.op == op && upgrade.strategy == Named("f32"));
      }
    }
    EXPECT_TRUE(upgraded) << text;
  }
  // A replacement is the reference's, which may be emulated.
  UpgradeSet f32, kahan, emulated;
  f32.upgrades = {{Op::kQProj, Named("f32"), {1}}};
  kahan.upgrades = {{Op::kQProj, Named("kahan"), {1}}};
  emulated.upgrades = {{Op::kQProj, Named("tc_h100"), {1}}};
  EXPECT_TRUE(f32.instructions().has_value());
  EXPECT_FALSE(emulated.instructions().has_value());
  EXPECT_TRUE(IsSmaller(f32, emulated));
  EXPECT_TRUE(IsSmaller(kahan, emulated));
  EXPECT_FALSE(IsSmaller(emulated, kahan));
  const Plan reference =
      Plan::Parse("matmul=tc_h100", weights.layers.size()).value();
  EXPECT_FALSE(
      ReplacementsOf(weights.config, Plan(weights.layers.size()), reference)
          .empty());
}

}  // namespace
}  // namespace ulpscope
