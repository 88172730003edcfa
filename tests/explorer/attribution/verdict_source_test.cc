#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status_matchers.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/phenomena.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "tests/explorer/attribution/attributed.h"
#include "tests/explorer/attribution/made_attribution.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/explorer/phenomena/found_phenomena.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;

TEST(VerdictTest, SeedCaseNamesSourceExposureAndSpreading) {
  const SeedCase seed;
  const Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_EQ(v.plan, "torch-bf16");
  ASSERT_TRUE(v.source.has_value());
  const ErrorSource& s = *v.source;
  EXPECT_THAT(s.ops, testing::UnorderedElementsAre(Op::kAttnResidual,
                                                   Op::kMlpResidual));
  EXPECT_EQ(s.first_layer, 3u);
  EXPECT_EQ(s.last_layer, 21u);
  // 38 of these cells, and the others' squares.
  const double source = 38 * 0.05 * 0.05;
  const double others = 0.1 * 0.1 + 0.09 * 0.09 + 0.04 * 0.04 + 0.05 * 0.05;
  EXPECT_NEAR(s.squared_share, source / (source + others), 1e-3);
  EXPECT_NEAR(s.share, 38 * 0.02, 1e-12);
  ASSERT_TRUE(s.channel.has_value());
  EXPECT_TRUE(s.channel->massive);
  EXPECT_TRUE(s.channel->rounded);
  EXPECT_EQ(s.channel->channel, 62u);
  EXPECT_EQ(s.channel->position, 0u);
  EXPECT_EQ(s.channel->value, 1667);
  EXPECT_EQ(s.channel->format, Format::kBF16);
  EXPECT_EQ(s.channel->spacing, 8);
  EXPECT_NEAR(s.channel->error_share, 0.97, 1e-12);
  ASSERT_TRUE(s.makes.has_value());
  EXPECT_EQ(s.makes->layer, 3u);
  EXPECT_THAT(s.makes->ops, ElementsAre(Op::kSwiGlu));
  ASSERT_TRUE(s.removes.has_value());
  EXPECT_EQ(s.removes->layer, 22u);
  EXPECT_THAT(s.removes->ops, ElementsAre(Op::kPostNorm, Op::kDownProj));
  ASSERT_TRUE(s.until_removal.has_value());
  EXPECT_THAT(s.until_removal->ops, testing::UnorderedElementsAre(
                                        Op::kAttnResidual, Op::kMlpResidual));

  ASSERT_TRUE(v.exposed_by.has_value());
  EXPECT_EQ(v.exposed_by->layer, 22u);
  EXPECT_EQ(v.exposed_by->op, Op::kMlpResidual);
  EXPECT_EQ(v.exposed_by->ratio, 59.6);
  EXPECT_EQ(v.exposed_by->error_before, 0.003);
  EXPECT_EQ(v.exposed_by->inherited_after, 0.12);
  EXPECT_EQ(v.exposed_by->error_after, 0.13);
  ASSERT_TRUE(v.spread_by.has_value());
  EXPECT_EQ(v.spread_by->layer, 23u);
  EXPECT_EQ(v.spread_by->top1_before, 0.97);
  EXPECT_EQ(v.spread_by->top1_after, 0.62);
  EXPECT_EQ(v.spread_by->amplification, 1.31);
  ASSERT_EQ(v.no_effect.size(), 1u);
  EXPECT_EQ(v.no_effect[0].op, Op::kSoftmax);
  EXPECT_TRUE(v.no_effect[0].over_one_position);
  ASSERT_TRUE(v.interaction.has_value());
  EXPECT_TRUE(v.interaction->adds_up);
  EXPECT_NEAR(v.interaction->squares_norm, std::sqrt(source + others) / 0.1,
              1e-2);
}

// Spacing of bf16: 4 in [512, 1024), 8 in [1024, 2048).
TEST(VerdictTest, SpacingIsTheFormatsAtTheValue) {
  SeedCase seed;
  const std::map<double, double> spacings = {
      {512, 4}, {-1023, 4}, {1024, 8}, {-2047, 8}, {2048, 16}};
  for (const auto& [value, spacing] : spacings) {
    seed.phenomena.massive[0].value = value;
    const Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
    EXPECT_EQ(v.source->channel->spacing, spacing) << value;
  }
  seed.phenomena.massive[0].value = 1667;
  const Verdict v = Judged(PlanOf("f32"), seed.attribution, &seed.phenomena);
  EXPECT_EQ(v.source->channel->format, Format::kF32);
  EXPECT_EQ(v.source->channel->spacing, 0x1p-13);
}

// A massive activation is no source if the error is not in its channel, or not
// of ops that hold it.
TEST(VerdictTest, MassiveActivationIsInnocentOfErrorsElsewhere) {
  SeedCase other_channel;
  for (Concentration& c : other_channel.phenomena.concentrations) {
    c.channel = 7;
    c.top1 = 0.1;
  }
  Verdict v = Judged(other_channel.plan, other_channel.attribution,
                     &other_channel.phenomena);
  ASSERT_TRUE(v.source.has_value());
  EXPECT_FALSE(v.source->channel.has_value());
  EXPECT_FALSE(v.source->makes.has_value());
  EXPECT_FALSE(v.spread_by.has_value());

  SeedCase later;
  for (Cause& cause : later.attribution.causes) cause.effect.rel_l2 = 1e-4;
  At(later.attribution, 23, Op::kDownProj).effect.rel_l2 = 0.5;
  v = Judged(later.plan, later.attribution, &later.phenomena);
  ASSERT_TRUE(v.source.has_value());
  EXPECT_THAT(v.source->ops, ElementsAre(Op::kDownProj));
  EXPECT_EQ(v.source->first_layer, 23u);
  EXPECT_EQ(v.source->last_layer, 23u);
  // Layer 22's cancellation was before that.
  EXPECT_FALSE(v.exposed_by.has_value());
  EXPECT_FALSE(v.source->channel.has_value() && v.source->channel->massive);
}

TEST(VerdictTest, FewLayersOfAMassiveActivationAreNamedThemselves) {
  SeedCase seed;
  for (Cause& cause : seed.attribution.causes) {
    if (OpKernel(cause.cell.op) == Kernel::kResidual) {
      cause.effect.rel_l2 = cause.cell.layer == 9 ? 0.5 : 1e-4;
    }
  }
  const Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_EQ(v.source->first_layer, 9u);
  EXPECT_EQ(v.source->last_layer, 9u);
  EXPECT_EQ(v.source->channel->channel, 62u);
}

TEST(VerdictTest, OneCellIsTheSource) {
  for (const Cell& cell : CellsOf(Config())) {
    if (cell.op == Op::kFinalNorm || cell.op == Op::kLmHead) continue;
    Attribution a = Uniform(1e-5);
    At(a, cell.layer, cell.op).effect.rel_l2 = 0.1;
    const Phenomena phenomena = Plain();
    const Verdict v = Judged(PlanOf("bf16"), a, &phenomena);
    ASSERT_TRUE(v.source.has_value()) << OpName(cell.op);
    EXPECT_THAT(v.source->ops, ElementsAre(cell.op));
    EXPECT_EQ(v.source->first_layer, cell.layer);
    EXPECT_EQ(v.source->last_layer, cell.layer);
    EXPECT_GT(v.source->squared_share, 0.99);
  }
}

TEST(VerdictTest, NoGroupOfOpsHasHalf) {
  Attribution a = Uniform(0);
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    At(a, layer, Op::kSwiGlu).effect.rel_l2 = 0.01;
    At(a, layer, Op::kMlpResidual).effect.rel_l2 = 0.011;
    At(a, layer, Op::kPostNorm).effect.rel_l2 = 0.012;
  }
  const Phenomena phenomena = Plain();
  const Verdict v = Judged(PlanOf("torch-bf16"), a, &phenomena);
  EXPECT_FALSE(v.source.has_value());
  EXPECT_FALSE(v.exposed_by.has_value());
  EXPECT_FALSE(v.spread_by.has_value());
  ASSERT_EQ(v.ops.size(), 3u);
  EXPECT_EQ(v.ops[0].op, Op::kPostNorm);
  EXPECT_EQ(v.ops[1].op, Op::kMlpResidual);
  EXPECT_EQ(v.ops[2].op, Op::kSwiGlu);
  EXPECT_NEAR(v.ops[0].squared_share, 144.0 / (100 + 121 + 144), 1e-12);
}

TEST(VerdictTest, LayersOfAGroupAreTheShortestRangeThatHoldsNearlyAll) {
  Attribution a = Uniform(0);
  for (size_t layer = 1; layer <= kLayers; ++layer) {
    // 1.8 % each of layers 1-5, 91 % in layers 8-10.
    const double squares = layer <= 5                  ? 0.018
                           : layer >= 8 && layer <= 10 ? 0.91 / 3
                                                       : 0;
    At(a, layer, Op::kQProj).effect.rel_l2 = std::sqrt(squares / 2);
    At(a, layer, Op::kKProj).effect.rel_l2 = std::sqrt(squares / 2);
  }
  const Verdict v = Judged(PlanOf("bf16"), a, nullptr);
  ASSERT_TRUE(v.source.has_value());
  EXPECT_THAT(v.source->ops,
              testing::UnorderedElementsAre(Op::kQProj, Op::kKProj));
  EXPECT_EQ(v.source->first_layer, 8u);
  EXPECT_EQ(v.source->last_layer, 10u);
  EXPECT_NEAR(v.source->squared_share, 0.91, 1e-12);
  EXPECT_FALSE(v.source->channel.has_value());
}

TEST(VerdictTest, OfEquallyShortRangesTheOneThatHoldsMostIsNamed) {
  Attribution a = Uniform(0);
  At(a, 5, Op::kQProj).effect.rel_l2 = std::sqrt(0.07);
  At(a, 6, Op::kQProj).effect.rel_l2 = std::sqrt(0.85);
  At(a, 7, Op::kQProj).effect.rel_l2 = std::sqrt(0.08);
  const Verdict v = Judged(PlanOf("bf16"), a, nullptr);
  ASSERT_TRUE(v.source.has_value());
  EXPECT_EQ(v.source->first_layer, 6u);
  EXPECT_EQ(v.source->last_layer, 7u);
}

// The error is in one channel, but in another one than the massive one.
TEST(VerdictTest, ChannelOfTheErrorIsNotTheMassiveOne) {
  SeedCase seed;
  for (Concentration& c : seed.phenomena.concentrations) {
    c.channel = 7;
    c.top1 = 0.9;
  }
  const Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  ASSERT_TRUE(v.source.has_value());
  ASSERT_TRUE(v.source->channel.has_value());
  EXPECT_EQ(v.source->channel->channel, 7u);
  EXPECT_FALSE(v.source->channel->massive);
}

TEST(VerdictTest, PartsOfAMassiveActivationAreThoseWorthNaming) {
  SeedCase seed;
  At(seed.attribution, 3, Op::kSwiGlu).effect.rel_l2 = 1e-4;
  seed.phenomena.massive[0].removed_op = Op::kAttnResidual;
  const Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  ASSERT_TRUE(v.source.has_value());
  EXPECT_FALSE(v.source->makes.has_value());
  // The MLP's add comes after what removed it.
  ASSERT_TRUE(v.source->until_removal.has_value());
  EXPECT_THAT(v.source->until_removal->ops, ElementsAre(Op::kAttnResidual));
}

TEST(VerdictTest, ChannelThatIsNotMassiveIsNamed) {
  Attribution a = Uniform(1e-5);
  At(a, 10, Op::kDownProj).effect.rel_l2 = 0.1;
  Phenomena phenomena = Plain();
  phenomena.concentrations[10] = {10, 896, 5, 0.8, 0.9};
  const Verdict v = Judged(PlanOf("bf16"), a, &phenomena);
  ASSERT_TRUE(v.source->channel.has_value());
  EXPECT_EQ(v.source->channel->channel, 5u);
  EXPECT_FALSE(v.source->channel->massive);
  EXPECT_EQ(v.source->channel->error_share, 0.8);
  // The next layer has 0.02 in another channel.
  ASSERT_TRUE(v.spread_by.has_value());
  EXPECT_EQ(v.spread_by->layer, 11u);
}

// Ops that make a massive activation do not round it wherever it is.
TEST(VerdictTest, MassiveActivationIsRoundedByTheStreamsAddsAlone) {
  SeedCase seed;
  for (Cause& cause : seed.attribution.causes) cause.effect.rel_l2 = 1e-4;
  At(seed.attribution, 3, Op::kDownProj).effect.rel_l2 = 0.1;
  At(seed.attribution, 22, Op::kDownProj).effect.rel_l2 = 0.03;
  Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  ASSERT_TRUE(v.source.has_value());
  EXPECT_THAT(v.source->ops, ElementsAre(Op::kDownProj));
  EXPECT_EQ(v.source->first_layer, 3u);
  EXPECT_EQ(v.source->last_layer, 3u);
  ASSERT_TRUE(v.source->channel.has_value());
  EXPECT_EQ(v.source->channel->channel, 62u);
  EXPECT_TRUE(v.source->channel->massive);
  EXPECT_FALSE(v.source->channel->rounded);
  EXPECT_FALSE(v.source->makes.has_value());
  EXPECT_FALSE(v.source->until_removal.has_value());
  EXPECT_FALSE(v.source->removes.has_value());
  EXPECT_EQ(v.source->channel->value, 1667);
  EXPECT_NEAR(v.source->channel->ratio_to_median, 1396, 0.5);
  // Of a channel that is massive in other layers only nothing is said.
  seed.phenomena.massive[0].born = 4;
  v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_EQ(v.source->channel->channel, 62u);
  EXPECT_FALSE(v.source->channel->massive);
}

// The whole chain from weights on: f32 everywhere, one op in one layer worse.
TEST(VerdictTest, PlantedCellIsTheSource) {
  Parallel parallel;
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const Strategy bf16 = *FindStrategy("bf16", Kernel::kMatMul);
  const std::vector<int32_t> tokens = {97, 3, 200, 41};
  const auto run = RunOf(weights, parallel);
  for (const Cell& cell :
       {Cell{1, Op::kVProj}, Cell{2, Op::kDownProj}, Cell{3, Op::kMlpResidual},
        Cell{2, Op::kSwiGlu}, Cell{3, Op::kInputNorm}}) {
    Plan plan(weights.layers.size());
    plan.Set(cell.layer, cell.op, bf16);
    const Baseline baseline = BaselineOf(run, plan, tokens);
    const auto attribution = Attribute(run, baseline);
    ASSERT_THAT(attribution, IsOk());
    const auto phenomena = FindPhenomena(run, plan, tokens);
    ASSERT_THAT(phenomena, IsOk());
    const Verdict v = Judged(plan, *attribution, &*phenomena);
    ASSERT_TRUE(v.source.has_value()) << OpName(cell.op);
    EXPECT_THAT(v.source->ops, ElementsAre(cell.op));
    EXPECT_EQ(v.source->first_layer, cell.layer);
    EXPECT_EQ(v.source->last_layer, cell.layer);
    ASSERT_TRUE(v.best_cell.has_value());
    EXPECT_EQ(v.best_cell->cell.op, cell.op);
    EXPECT_EQ(v.best_cell->cell.layer, cell.layer);
    EXPECT_GT(v.best_cell->gain, 0.9);
    EXPECT_TRUE(v.interaction->adds_up);
  }
}

}  // namespace
}  // namespace ulpscope
