#include "explorer/phenomena/flips.h"

#include <cstddef>
#include <vector>

#include "explorer/error/baseline.h"
#include "explorer/phenomena/massive_channel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// Two positions of three channels, after the embedding and one layer.
Baseline Made(std::vector<double> reference, std::vector<double> plan) {
  Baseline baseline;
  baseline.plan = Plan(1);
  baseline.positions = 2;
  baseline.hidden_size = 3;
  baseline.vocab_size = 3;
  const std::vector<double> zero(6, 0);
  baseline.reference.states = {{zero, {}}, {std::move(reference), {}}};
  baseline.run.states = {{zero, {}}, {std::move(plan), {}}};
  return baseline;
}

MassiveChannel Massive(size_t position, size_t channel, double value) {
  MassiveChannel m;
  m.position = position;
  m.channel = channel;
  m.born = m.value_layer = 1;
  m.value = value;
  return m;
}

TEST(FlipsTest, WhatOneRunHasAndTheOtherLacks) {
  const Baseline baseline =
      Made({0, 300, 0, -500, 0, 0}, {0, 290, 0, -20, 0, 150});
  const std::vector<FlippedActivation> flips =
      FindFlips(baseline, {Massive(0, 1, 300), Massive(1, 0, -500)},
                {Massive(0, 1, 290), Massive(1, 2, 150)});
  ASSERT_THAT(flips, SizeIs(2));
  EXPECT_EQ(flips[0].position, 1u);
  EXPECT_EQ(flips[0].channel, 0u);
  EXPECT_FALSE(flips[0].in_plan);
  EXPECT_EQ(flips[0].value, -500);
  EXPECT_EQ(flips[0].other, -20);
  EXPECT_EQ(flips[1].channel, 2u);
  EXPECT_TRUE(flips[1].in_plan);
  EXPECT_EQ(flips[1].other, 0);
}

// 101 in one run and 99 in the other is one that both have.
TEST(FlipsTest, TheThresholdItselfIsNoFlip) {
  const Baseline baseline = Made({0, 101, 0, 0, 0, 0}, {0, 99, 0, 0, 0, 0});
  EXPECT_THAT(FindFlips(baseline, {Massive(0, 1, 101)}, {}), IsEmpty());
}

// Its value is between the layer's adds, and after none.
TEST(FlipsTest, WhatComesAndGoesWithinALayerIsNone) {
  const Baseline baseline = Made({0, 1, 0, 0, 0, 0}, {0, 1, 0, 0, 0, 0});
  EXPECT_THAT(FindFlips(baseline, {Massive(0, 1, 400)}, {}), IsEmpty());
}

TEST(FlipsTest, NearTiesAreChangedTokensAndNearlyChangedOnes) {
  Baseline baseline =
      Made(std::vector<double>(6, 0), std::vector<double>(6, 0));
  baseline.reference.logits = {3, 2, 0, 5, 4, 1};
  // The first position changes its token, the second loses 0.7 of its margin.
  baseline.run.logits = {3, 3.5, 0, 4.5, 4.2, 1};
  std::vector<NearTie> ties = FindNearTies(baseline);
  ASSERT_THAT(ties, SizeIs(2));
  EXPECT_EQ(ties[0].position, 0u);
  EXPECT_EQ(ties[0].token, 0);
  EXPECT_EQ(ties[0].rival, 1);
  EXPECT_EQ(ties[0].margin, 1);
  EXPECT_EQ(ties[0].error, 1.5);
  EXPECT_TRUE(ties[0].flips);
  EXPECT_FALSE(ties[1].flips);
  EXPECT_EQ(ties[1].margin, 1);
  EXPECT_NEAR(ties[1].error, 0.7, 1e-15);
  // What moves all logits alike, or away from the rival, is none.
  baseline.run.logits = {103, 102, 100, 6, 4, 1};
  EXPECT_THAT(FindNearTies(baseline), IsEmpty());
}

}  // namespace
}  // namespace ulpscope
