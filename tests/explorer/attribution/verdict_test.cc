#include "explorer/attribution/verdict.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/cure.h"
#include "explorer/attribution/error_source.h"
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
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(VerdictTest, LargestCancellationAndFallAreNamed) {
  SeedCase seed;
  seed.phenomena.cancellations[2 * 23 - 1].ratio = 5;
  seed.attribution.layers[23].inherited.rel_l2 = 0.4;
  // 0.97, 0.77, 0.57: no layer spreads it.
  seed.phenomena.concentrations[23].top1 = 0.77;
  seed.phenomena.concentrations[24].top1 = 0.57;
  const Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  ASSERT_TRUE(v.exposed_by.has_value());
  EXPECT_EQ(v.exposed_by->layer, 22u);
  EXPECT_FALSE(v.spread_by.has_value());
}

// What a layer inherits has to grow, not its own roundings; and an add that
// does not halve the stream exposes nothing.
TEST(VerdictTest, ExposureIsOfWhatIsInherited) {
  SeedCase seed;
  LayerSplit& split = seed.attribution.layers[22];
  split.inherited.rel_l2 = 2 * 0.003;
  Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  ASSERT_TRUE(v.exposed_by.has_value());
  EXPECT_EQ(v.exposed_by->inherited_after, 0.006);
  split.inherited.rel_l2 = 0.0059;
  v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_FALSE(v.exposed_by.has_value());
  split.inherited.rel_l2 = 0.1;
  CancellingAdd& add = seed.phenomena.cancellations[2 * 22 - 1];
  ASSERT_EQ(add.ratio, 59.6);
  add.ratio = 3;
  v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_TRUE(v.exposed_by.has_value());
  add.ratio = 2.99;
  v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_FALSE(v.exposed_by.has_value());
}

// The squares by hand: 38 adds of the stream, one more of layer 22, three other
// ops, and what all others have.
TEST(VerdictTest, CuresLeaveTheOtherCellsOnAverage) {
  SeedCase seed;
  const Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  double others = 0;
  for (const Cause& cause : seed.attribution.causes) {
    if (OpKernel(cause.cell.op) != Kernel::kResidual) {
      others += *cause.effect.rel_l2 * *cause.effect.rel_l2;
    }
  }
  const double parts = 0.1 * 0.1 + 0.09 * 0.09 + 0.04 * 0.04;
  // Adds of layers 1, 2, 23 and 24.
  const double small = 8 * 1e-4 * 1e-4;
  EXPECT_NEAR(LeftOnAverage(v, CureScope::kSource), std::sqrt(others + small),
              1e-9);
  EXPECT_NEAR(LeftOnAverage(v, CureScope::kOps), std::sqrt(others), 1e-9);
  EXPECT_NEAR(LeftOnAverage(v, CureScope::kChannel), std::sqrt(others - parts),
              1e-7);
}

TEST(VerdictTest, GainsAreOfTheSourcesOps) {
  SeedCase seed;
  seed.attribution.op_repairs = {
      {{0, Op::kAttnResidual}, {0.1, 0.1, 0.1, {}}, 0.01, 0, 0.02, 0},
      {{0, Op::kMlpResidual}, {0.1, 0.1, 0.1, {}}, -0.0001, 0, 0.3, 0}};
  const Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  ASSERT_EQ(v.source->gains.size(), 2u);
  for (const OpGain& gain : v.source->gains) {
    const bool attn = gain.op == Op::kAttnResidual;
    EXPECT_EQ(gain.gain, attn ? 0.01 : -0.0001);
    EXPECT_EQ(gain.moved, attn ? 0.02 : 0.3);
  }
}

TEST(VerdictTest, CellsThatDoNotAddUpAreSaidTo) {
  Attribution a = Uniform(1e-3);
  a.cause_sum = {0.2, 1.7, 1.6};
  const Verdict v = Judged(PlanOf("bf16"), a, nullptr);
  ASSERT_TRUE(v.interaction.has_value());
  EXPECT_FALSE(v.interaction->adds_up);
  EXPECT_EQ(v.interaction->sum_cosine, 0.2);
  EXPECT_EQ(v.interaction->sum_norm, 1.7);
  EXPECT_EQ(v.interaction->sum_rest, 1.6);
}

TEST(VerdictTest, ResultsThatAreNotNumbersHaveNoShares) {
  Attribution a = Uniform(1e-3);
  a.plan.rel_l2 = a.plan.logits_rel_l2 = a.plan.kl = kNaN;
  for (size_t layer = 7; layer <= kLayers; ++layer) {
    a.plan.layers[layer] = layer == 7 ? kInf : kNaN;
  }
  At(a, 7, Op::kDownProj).effect.rel_l2 = kNaN;
  At(a, 9, Op::kSwiGlu).effect.logits_rel_l2 = kInf;
  a.cause_sum = {kNaN, kNaN, kNaN};
  Phenomena phenomena = Plain();
  for (size_t layer = 7; layer <= kLayers; ++layer) {
    phenomena.concentrations[layer].top1 = kNaN;
    phenomena.cancellations[2 * layer - 1].ratio = kNaN;
  }
  const Verdict v = Judged(PlanOf("bf16"), a, &phenomena);
  EXPECT_EQ(v.nonfinite_from, 7u);
  ASSERT_EQ(v.nonfinite_cells.size(), 2u);
  EXPECT_EQ(v.nonfinite_cells[0].op, Op::kDownProj);
  EXPECT_EQ(v.nonfinite_cells[1].op, Op::kSwiGlu);
  EXPECT_FALSE(v.source.has_value());
  EXPECT_FALSE(v.interaction.has_value());
  EXPECT_FALSE(v.exact);
  EXPECT_TRUE(std::isnan(v.rel_l2.value()));
}

// All states are there, but not the logits that say what the head has.
TEST(VerdictTest, StoppedBeforeItsLogitsItNamesNoSource) {
  SeedCase seed;
  seed.attribution.cause_sum.reset();
  for (Cause& cause : seed.attribution.causes) {
    cause.effect.logits_rel_l2.reset();
    cause.effect.kl.reset();
  }
  const Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_FALSE(v.source.has_value());
  EXPECT_FALSE(v.head.has_value());
  EXPECT_THAT(v.no_effect, IsEmpty());
}

TEST(VerdictTest, StoppedAttributionNamesNoSource) {
  SeedCase seed;
  seed.attribution.stopped_in = "the cause map, after layer 12";
  for (Cause& cause : seed.attribution.causes) {
    if (cause.cell.layer > 12) {
      cause.effect = Effect();
      cause.changes_bits = false;
    }
  }
  Verdict v = Judged(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_FALSE(v.source.has_value());
  EXPECT_FALSE(v.interaction.has_value());
  EXPECT_THAT(v.ops, IsEmpty());
  EXPECT_THAT(v.no_effect, IsEmpty());
  EXPECT_TRUE(v.exposed_by.has_value());
  EXPECT_EQ(v.stopped_in, "the cause map, after layer 12");

  // Later than the causes: they are still good.
  SeedCase late;
  late.attribution.stopped_in = "the repair map";
  v = Judged(late.plan, late.attribution, &late.phenomena);
  EXPECT_TRUE(v.source.has_value());

  // In the first part: nothing is known.
  Attribution nothing;
  nothing.stopped_in = "the oracle";
  v = Judged(seed.plan, nothing, nullptr);
  EXPECT_FALSE(v.nonfinite_from.has_value());
  EXPECT_FALSE(v.exact);
  EXPECT_FALSE(v.source.has_value());
}

TEST(VerdictTest, PlanOfTheOracleHasNoError) {
  Attribution a = Uniform(0);
  a.plan = {0, 0, 0, std::vector<double>(kLayers + 1, 0)};
  for (Cause& cause : a.causes) cause.changes_bits = false;
  const Phenomena phenomena = Plain();
  const Verdict v = Judged(PlanOf("oracle"), a, &phenomena);
  EXPECT_TRUE(v.exact);
  EXPECT_FALSE(v.source.has_value());
  EXPECT_THAT(v.no_effect, IsEmpty());
}

TEST(VerdictTest, ErrorsOfTheHeadAreTheLogitsOwn) {
  Attribution a = Uniform(1e-5);
  At(a, 0, Op::kLmHead).effect = {0, 0.5, 0.1, {}};
  const Verdict v = Judged(PlanOf("bf16"), a, nullptr);
  ASSERT_TRUE(v.head.has_value());
  EXPECT_EQ(v.head->op, Op::kLmHead);
  EXPECT_GT(v.head->squared_share, 0.99);
}

TEST(VerdictTest, BestRepairsAreThoseOfTheMaps) {
  Attribution a = Uniform(1e-3);
  const Effect whole = {0.1, 0.1, 0.1, {}};
  a.repairs = {{{2, Op::kQProj}, whole, 0.02, 0, 0.03, 0},
               {{3, Op::kKProj}, whole, 0.05, 0, 0.01, 0},
               {{4, Op::kVProj}, whole, kNaN, 0, kNaN, 0}};
  a.op_repairs = {{{0, Op::kRope}, whole, -0.1, 0, 0, 0},
                  {{0, Op::kAv}, whole, -0.2, 0, 0, 0}};
  a.group_repairs = {{{0, Op::kQProj}, whole, 0.3, 0, 0, 0}};
  a.layer_repairs = {{{7, Op::kEmbed}, whole, 0.5, 0, 0, 0}};
  Verdict v = Judged(PlanOf("bf16"), a, nullptr);
  ASSERT_TRUE(v.best_cell && v.best_op && v.best_group && v.best_layer);
  EXPECT_EQ(v.best_cell->cell.layer, 3u);
  EXPECT_EQ(v.best_cell->cell.op, Op::kKProj);
  EXPECT_EQ(v.best_cell->gain, 0.05);
  EXPECT_EQ(v.best_cell->most_moved, 0.03);
  EXPECT_EQ(v.best_op->cell.op, Op::kRope);
  EXPECT_EQ(v.best_op->gain, -0.1);
  EXPECT_EQ(v.best_group->cell.op, Op::kQProj);
  EXPECT_EQ(v.best_group->gain, 0.3);
  EXPECT_EQ(v.best_layer->cell.layer, 7u);
  EXPECT_EQ(v.best_layer->gain, 0.5);
  // An unfinished map may not have shown the best yet.
  a.repairs[0].effect.kl.reset();
  v = Judged(PlanOf("bf16"), a, nullptr);
  EXPECT_FALSE(v.best_cell.has_value());
  EXPECT_TRUE(v.best_op.has_value());
}

TEST(VerdictTest, OpsUnderTheOracleAreNotSaidToHaveNoEffect) {
  Attribution a = Uniform(1e-3);
  for (Cause& cause : a.causes) {
    if (cause.cell.op == Op::kRope || cause.cell.op == Op::kSoftmax) {
      cause.changes_bits = false;
    }
  }
  const Verdict v = Judged(PlanOf("bf16,softmax=oracle"), a, nullptr);
  ASSERT_EQ(v.no_effect.size(), 1u);
  EXPECT_EQ(v.no_effect[0].op, Op::kRope);
  EXPECT_FALSE(v.no_effect[0].over_one_position);
}

// The final hidden state is the oracle's: nothing is divided by its error.
TEST(VerdictTest, AnErrorOfTheHeadAloneHasNoInteraction) {
  Parallel parallel;
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const auto plan = Plan::Parse("oracle,lm_head=bf16", weights.layers.size());
  ASSERT_THAT(plan, IsOk());
  const std::vector<int32_t> tokens = {97};
  const auto run = RunOf(weights, parallel);
  const auto attribution = Attribute(run, BaselineOf(run, *plan, tokens));
  ASSERT_THAT(attribution, IsOk());
  const Verdict v = Judged(*plan, *attribution, nullptr);
  EXPECT_EQ(v.rel_l2, 0);
  EXPECT_GT(v.logits_rel_l2, 0);
  EXPECT_FALSE(v.interaction.has_value());
  EXPECT_FALSE(v.source.has_value());
  ASSERT_TRUE(v.head.has_value());
  EXPECT_EQ(v.head->op, Op::kLmHead);
  EXPECT_EQ(v.head->squared_share, 1);
}

// A source by hand: the cures are its op, where it can be better.
TEST(CureTest, UpgradesOfTheSourceAreRun) {
  Parallel parallel;
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const auto plan = Plan::Parse("o_proj@2=bf16_acc", weights.layers.size());
  ASSERT_THAT(plan, IsOk());
  Verdict verdict;
  ErrorSource source;
  source.ops = {Op::kOProj};
  source.first_layer = source.last_layer = 2;
  verdict.source = source;
  const std::vector<Strategy> strategies = {
      Strategy(), *FindStrategy("kahan", Kernel::kMatMul)};
  const std::vector<int32_t> tokens = {97, 3, 5};
  const auto run = RunOf(weights, parallel);
  const Baseline baseline = BaselineOf(run, *plan, tokens);
  TestMonitor stops(0);
  ASSERT_THAT(
      TryCures(RunOf(weights, parallel, stops), baseline, strategies, verdict),
      IsOk());
  EXPECT_THAT(verdict.source->cures, IsEmpty());
  ASSERT_THAT(TryCures(run, baseline, strategies, verdict), IsOk());
  // f32 can be taken in layer 2 alone, kahan in all layers too.
  ASSERT_EQ(verdict.source->cures.size(), 3u);
  EXPECT_THAT(verdict.source->cures[0].entries, ElementsAre("o_proj@2=f32"));
  EXPECT_THAT(verdict.source->cures[1].entries, ElementsAre("o_proj@2=kahan"));
  EXPECT_THAT(verdict.source->cures[2].entries, ElementsAre("o_proj=kahan"));
  for (const Cure& cure : verdict.source->cures) {
    EXPECT_GT(cure.rel_l2, 0);
    EXPECT_LT(cure.rel_l2, 1e-4);
  }
  // Nothing to cure.
  Verdict none;
  ASSERT_THAT(TryCures(run, baseline, strategies, none), IsOk());
  EXPECT_FALSE(none.source.has_value());
}

// One layer of an op is the source, another op makes its channel: each scope is
// upgraded, and all of the op is run by itself.
TEST(CureTest, ScopesAndIsolatedOpsAreRun) {
  Parallel parallel;
  const Weights& weights = LoadedOnce("synthetic:tiny");
  const size_t num_layers = weights.layers.size();
  const auto plan = Plan::Parse("o_proj=bf16_acc,v_proj=bf16", num_layers);
  ASSERT_THAT(plan, IsOk());
  Verdict verdict;
  verdict.source = ErrorSource();
  verdict.source->ops = {Op::kOProj};
  verdict.source->first_layer = verdict.source->last_layer = 2;
  verdict.source->makes = SourcePart{1, {Op::kVProj}, 0.1};
  const auto run = RunOf(weights, parallel);
  const std::vector<int32_t> tokens = {97, 3, 5};
  const Baseline baseline = BaselineOf(run, *plan, tokens);
  ASSERT_THAT(TryCures(run, baseline, {Strategy()}, verdict), IsOk());
  const ErrorSource& source = *verdict.source;
  ASSERT_EQ(source.cures.size(), 3u);
  EXPECT_THAT(source.cures[0].entries, ElementsAre("o_proj@2=f32"));
  EXPECT_THAT(source.cures[1].entries, ElementsAre("o_proj=f32"));
  EXPECT_THAT(source.cures[2].entries,
              testing::UnorderedElementsAre("o_proj=f32", "v_proj@1=f32"));
  const auto error_of = [&](const std::string& text) {
    return Attribute(run,
                     BaselineOf(run, *Plan::Parse(text, num_layers), tokens),
                     {false, false, false})
        ->plan.rel_l2.value();
  };
  std::string others;
  for (size_t i = 0; i < kNumOps; ++i) {
    if (OpAt(i) != Op::kOProj) {
      absl::StrAppend(&others, ",", OpName(OpAt(i)), "=oracle");
    }
  }
  // The two sum 3 * 64 squares in orders of their own, each sum within 192
  // roundings; the root and the quotient halve and add what is left.
  const auto is = [](double x) {
    return testing::DoubleNear(x, 2 * 192 * 0x1p-53 * x);
  };
  EXPECT_THAT(source.cures[2].rel_l2,
              is(error_of("o_proj=f32,v_proj=bf16,v_proj@1=f32")));
  ASSERT_TRUE(source.isolated.has_value());
  const double alone = error_of(absl::StrCat("o_proj=bf16_acc", others));
  EXPECT_THAT(source.isolated->rel_l2, is(alone));
  ASSERT_EQ(source.isolated->upgraded.size(), 1u);
  EXPECT_THAT(source.isolated->upgraded[0].rel_l2,
              is(error_of(absl::StrCat("o_proj=f32", others))));
}

TEST(FormatNameTest, IsThatOfPlansAndReports) {
  EXPECT_EQ(FormatName(Format::kF64), "f64");
  EXPECT_EQ(FormatName(Format::kF32), "f32");
  EXPECT_EQ(FormatName(Format::kBF16), "bf16");
  EXPECT_EQ(FormatName(Format::kF16), "f16");
}

}  // namespace
}  // namespace ulpscope
