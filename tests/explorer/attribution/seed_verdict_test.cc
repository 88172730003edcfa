// The case that the program is built around (docs/design.md), from the weights
// to the verdict.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status_matchers.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/cure.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/verdict.h"
#include "explorer/phenomena/phenomena.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
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
using ::testing::Contains;
using ::testing::UnorderedElementsAre;

Verdict VerdictOn(const std::string& plan_text) {
  Parallel parallel(2);
  const Weights& weights = LoadedOnce("synthetic:seed");
  const auto plan = Plan::Parse(plan_text, weights.layers.size());
  EXPECT_THAT(plan, IsOk());
  const std::vector<int32_t> tokens = {9707};
  const auto run = RunOf(weights, parallel);
  const Baseline baseline = BaselineOf(run, *plan, tokens);
  const auto attribution = Attribute(run, baseline);
  EXPECT_THAT(attribution, IsOk());
  const auto phenomena = FindPhenomena(run, *plan, tokens);
  EXPECT_THAT(phenomena, IsOk());
  Verdict verdict = Judged(*plan, *attribution, &*phenomena);
  const std::vector<Strategy> strategies = {
      Strategy(), *FindStrategy("kahan", Kernel::kMatMul)};
  EXPECT_THAT(TryCures(run, baseline, strategies, verdict), IsOk());

  return verdict;
}

// What is true of the plan's residual adds, whatever its other ops do.
void ExpectSeedCase(const Verdict& v) {
  const ErrorSource& source = *v.source;
  EXPECT_THAT(source.ops,
              UnorderedElementsAre(Op::kAttnResidual, Op::kMlpResidual));
  EXPECT_EQ(source.first_layer, 3u);
  EXPECT_EQ(source.last_layer, 21u);
  EXPECT_GT(source.squared_share, 0.5);
  ASSERT_TRUE(source.channel.has_value());
  EXPECT_EQ(source.channel->channel, 62u);
  EXPECT_TRUE(source.channel->massive);
  EXPECT_EQ(source.channel->format, Format::kBF16);
  EXPECT_EQ(source.channel->spacing, 8);
  EXPECT_GT(source.channel->error_share, 0.5);

  ASSERT_TRUE(v.exposed_by.has_value());
  EXPECT_EQ(v.exposed_by->layer, 22u);
  EXPECT_EQ(v.exposed_by->op, Op::kMlpResidual);
  EXPECT_NEAR(v.exposed_by->ratio, 59.6, 0.1);
  EXPECT_GT(v.exposed_by->error_after, 10 * v.exposed_by->error_before);
  ASSERT_TRUE(v.spread_by.has_value());
  EXPECT_EQ(v.spread_by->layer, 23u);
  EXPECT_LT(v.spread_by->top1_after, v.spread_by->top1_before);
  std::vector<Op> no_effect;
  for (const NoEffect& op : v.no_effect) {
    no_effect.push_back(op.op);
    EXPECT_EQ(op.over_one_position, op.op == Op::kSoftmax);
  }
  EXPECT_THAT(no_effect, Contains(Op::kSoftmax));

  // By itself the stream's rounding makes the error, and in f32 or kahan not:
  // n = 24 layers of 2 adds each leave at most 2 n u of the largest |x| that
  // was rounded, in the channel that stays when 55.7 / 1.86 of the stream is
  // gone.
  ASSERT_TRUE(source.isolated.has_value());
  EXPECT_GT(source.isolated->rel_l2, *v.rel_l2 / 2);
  ASSERT_EQ(source.isolated->upgraded.size(), 2u);
  for (const Isolated::Upgraded& upgraded : source.isolated->upgraded) {
    EXPECT_GT(upgraded.rel_l2, 0);
    EXPECT_LT(upgraded.rel_l2, 48 * 0x1p-24 * 55.7 / 1.86);
  }
}

// The residual stream alone is no cure: what makes and removes the channel's
// value rounds it as coarsely. With both, less than half is left.
TEST(SeedVerdictTest, TorchBf16) {
  const Verdict v = VerdictOn("torch-bf16");
  ASSERT_TRUE(v.source.has_value());
  ExpectSeedCase(v);
  ASSERT_TRUE(v.source->makes.has_value());
  EXPECT_EQ(v.source->makes->layer, 3u);
  ASSERT_TRUE(v.source->removes.has_value());
  EXPECT_EQ(v.source->removes->layer, 22u);
  EXPECT_EQ(v.source->cures.size(), 6u);
  for (const Cure& cure : v.source->cures) {
    EXPECT_EQ(cure.rel_l2 < 0.5 * *v.rel_l2, cure.scope == CureScope::kChannel);
  }
}

// Where nothing else is bf16, f32 or kahan in the residual stream is the cure;
// from the layer where the activation is made to where it is removed, half of
// it.
TEST(SeedVerdictTest, ResidualAloneInBf16) {
  const Verdict v = VerdictOn("residual=bf16");
  ASSERT_TRUE(v.source.has_value());
  ExpectSeedCase(v);
  EXPECT_FALSE(v.source->makes.has_value());
  EXPECT_FALSE(v.source->removes.has_value());
  EXPECT_EQ(v.source->cures.size(), 4u);
  for (const Cure& cure : v.source->cures) {
    EXPECT_LT(cure.rel_l2 / *v.rel_l2,
              cure.scope == CureScope::kSource ? 0.5 : 1e-3);
  }
}

}  // namespace
}  // namespace ulpscope
