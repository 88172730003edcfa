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
#include "explorer/attribution/repair.h"
#include "explorer/phenomena/phenomena.h"
#include "explorer/report/verdict_text.h"
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
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(VerdictTest, LargestCancellationAndFallAreNamed) {
  SeedCase seed;
  seed.phenomena.cancellations[2 * 23 - 1].ratio = 5;
  seed.attribution.layers[23].inherited.rel_l2 = 0.4;
  // 0.97, 0.77, 0.57: no layer spreads it.
  seed.phenomena.concentrations[23].top1 = 0.77;
  seed.phenomena.concentrations[24].top1 = 0.57;
  const Verdict v = Judge(seed.plan, seed.attribution, &seed.phenomena);
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
  Verdict v = Judge(seed.plan, seed.attribution, &seed.phenomena);
  ASSERT_TRUE(v.exposed_by.has_value());
  EXPECT_EQ(v.exposed_by->inherited_after, 0.006);
  split.inherited.rel_l2 = 0.0059;
  v = Judge(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_FALSE(v.exposed_by.has_value());
  split.inherited.rel_l2 = 0.1;
  CancellingAdd& add = seed.phenomena.cancellations[2 * 22 - 1];
  ASSERT_EQ(add.ratio, 59.6);
  add.ratio = 3;
  v = Judge(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_TRUE(v.exposed_by.has_value());
  add.ratio = 2.99;
  v = Judge(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_FALSE(v.exposed_by.has_value());
}

// The squares by hand: 38 adds of the stream, one more of layer 22, three other
// ops, and what all others have.
TEST(VerdictTest, CuresLeaveTheOtherCellsOnAverage) {
  SeedCase seed;
  Verdict v = Judge(seed.plan, seed.attribution, &seed.phenomena);
  double others = 0;
  for (const Cause& cause : seed.attribution.causes) {
    if (OpKernel(cause.cell.op) != Kernel::kResidual) {
      others += cause.effect.rel_l2 * cause.effect.rel_l2;
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

  v.source->isolated = {0.2, {{Strategy(), 0.01}}};
  v.source->cures = {{CureScope::kSource, Strategy(), {"residual=f32"}, 0.09}};
  EXPECT_THAT(Text(v), HasSubstr("By themselves, in all layers"));
  EXPECT_THAT(Text(v), HasSubstr("give an error of 0.2; 0.01 under f32."));
  EXPECT_THAT(Text(v), HasSubstr("`residual=f32` the error is 0.09 instead of "
                                 "0.1 (all other cells, if independent, give "
                                 "0.14 on average)"));
  EXPECT_THAT(Text(v), HasSubstr("None of these halves the error"));
  v.source->cures[0].rel_l2 = 0.05;
  EXPECT_THAT(Text(v), Not(HasSubstr("None of these")));
}

TEST(VerdictTest, OpsThatRoundInTurnAreSaidTo) {
  SeedCase seed;
  seed.attribution.op_repairs = {
      {{0, Op::kAttnResidual}, {0.1, 0.1, 0.1, {}, true}, 0.01, 0, 0.02, 0},
      {{0, Op::kMlpResidual}, {0.1, 0.1, 0.1, {}, true}, -0.0001, 0, 0.3, 0}};
  EXPECT_THAT(Text(Judge(seed.plan, seed.attribution, &seed.phenomena)),
              AllOf(HasSubstr("attn_residual alone 1.0 %"),
                    HasSubstr("in mlp_residual alone 0.0 %"),
                    HasSubstr("the other ops round again")));
  seed.attribution.op_repairs[0].moved = 0.6;
  EXPECT_THAT(Text(Judge(seed.plan, seed.attribution, &seed.phenomena)),
              Not(HasSubstr("round again")));
}

TEST(VerdictTest, CellsThatDoNotAddUpAreSaidTo) {
  Attribution a = Uniform(1e-3);
  a.sum_cosine = 0.2;
  a.sum_norm = 1.7;
  a.sum_rest = 1.6;
  const Verdict v = Judge(PlanOf("bf16"), a, nullptr);
  ASSERT_TRUE(v.interaction.has_value());
  EXPECT_FALSE(v.interaction->adds_up);
  EXPECT_THAT(Text(v), HasSubstr("do not add up"));
  EXPECT_THAT(Text(v), HasSubstr("cosine of 0.200"));
}

TEST(VerdictTest, ResultsThatAreNotNumbersHaveNoShares) {
  Attribution a = Uniform(1e-3);
  a.plan.rel_l2 = a.plan.logits_rel_l2 = a.plan.kl = kNaN;
  for (size_t layer = 7; layer <= kLayers; ++layer) {
    a.plan.layers[layer] = layer == 7 ? kInf : kNaN;
  }
  At(a, 7, Op::kDownProj).effect.rel_l2 = kNaN;
  At(a, 9, Op::kSwiGlu).effect.logits_rel_l2 = kInf;
  a.sum_cosine = a.sum_norm = a.sum_rest = kNaN;
  Phenomena phenomena = Plain();
  for (size_t layer = 7; layer <= kLayers; ++layer) {
    phenomena.concentrations[layer].top1 = kNaN;
    phenomena.cancellations[2 * layer - 1].ratio = kNaN;
  }
  const Verdict v = Judge(PlanOf("bf16"), a, &phenomena);
  EXPECT_EQ(v.nonfinite_from, 7u);
  ASSERT_EQ(v.nonfinite_cells.size(), 2u);
  EXPECT_EQ(v.nonfinite_cells[0].op, Op::kDownProj);
  EXPECT_EQ(v.nonfinite_cells[1].op, Op::kSwiGlu);
  EXPECT_FALSE(v.source.has_value());
  EXPECT_FALSE(v.interaction.has_value());
  EXPECT_FALSE(v.exact);
  EXPECT_THAT(Text(v), HasSubstr("breaks down"));
  EXPECT_THAT(Text(v), HasSubstr("down_proj@7 and swiglu@9"));
}

TEST(VerdictTest, StoppedAttributionNamesNoSource) {
  SeedCase seed;
  seed.attribution.stopped_in = "the cause map, after layer 12";
  for (Cause& cause : seed.attribution.causes) {
    if (cause.cell.layer > 12) {
      cause.effect = {kNaN, kNaN, kNaN, {}, false};
      cause.changes_bits = false;
    }
  }
  Verdict v = Judge(seed.plan, seed.attribution, &seed.phenomena);
  EXPECT_FALSE(v.source.has_value());
  EXPECT_FALSE(v.interaction.has_value());
  EXPECT_THAT(v.ops, IsEmpty());
  EXPECT_THAT(v.no_effect, IsEmpty());
  EXPECT_TRUE(v.exposed_by.has_value());
  EXPECT_THAT(Text(v), HasSubstr("the cause map, after layer 12"));

  // Later than the causes: they are still good.
  SeedCase late;
  late.attribution.stopped_in = "the repair map";
  v = Judge(late.plan, late.attribution, &late.phenomena);
  EXPECT_TRUE(v.source.has_value());

  // In the first part: nothing is known.
  Attribution nothing;
  nothing.stopped_in = "the oracle";
  nothing.plan.rel_l2 = nothing.plan.logits_rel_l2 = kNaN;
  v = Judge(seed.plan, nothing, nullptr);
  EXPECT_THAT(Text(v), HasSubstr("not run to its end"));
  EXPECT_THAT(Text(v), Not(HasSubstr("breaks down")));
  EXPECT_FALSE(v.exact);
  EXPECT_FALSE(v.source.has_value());
}

TEST(VerdictTest, PlanOfTheOracleHasNoError) {
  Attribution a = Uniform(0);
  a.plan = {0, 0, 0, std::vector<double>(kLayers + 1, 0), true};
  for (Cause& cause : a.causes) cause.changes_bits = false;
  const Phenomena phenomena = Plain();
  const Verdict v = Judge(PlanOf("oracle"), a, &phenomena);
  EXPECT_TRUE(v.exact);
  EXPECT_FALSE(v.source.has_value());
  EXPECT_THAT(v.no_effect, IsEmpty());
  const std::vector<std::string> sentences = Sentences(v, nullptr);
  ASSERT_EQ(sentences.size(), 1u);
  EXPECT_THAT(sentences[0], HasSubstr("no error"));
}

TEST(VerdictTest, ErrorsOfTheHeadAreTheLogitsOwn) {
  Attribution a = Uniform(1e-5);
  At(a, 0, Op::kLmHead).effect = {0, 0.5, 0.1, {}, true};
  const Verdict v = Judge(PlanOf("bf16"), a, nullptr);
  ASSERT_TRUE(v.head.has_value());
  EXPECT_EQ(v.head->op, Op::kLmHead);
  EXPECT_GT(v.head->squared_share, 0.99);
  EXPECT_THAT(Text(v), HasSubstr("lm_head's own"));
}

TEST(VerdictTest, BestRepairsAreThoseOfTheMaps) {
  Attribution a = Uniform(1e-3);
  const Effect whole = {0.1, 0.1, 0.1, {}, true};
  a.repairs = {{{2, Op::kQProj}, whole, 0.02, 0, 0.03, 0},
               {{3, Op::kKProj}, whole, 0.05, 0, 0.01, 0},
               {{4, Op::kVProj}, whole, kNaN, 0, kNaN, 0}};
  a.op_repairs = {{{0, Op::kRope}, whole, -0.1, 0, 0, 0},
                  {{0, Op::kAv}, whole, -0.2, 0, 0, 0}};
  a.group_repairs = {{{0, Op::kQProj}, whole, 0.3, 0, 0, 0}};
  a.layer_repairs = {{{7, Op::kEmbed}, whole, 0.5, 0, 0, 0}};
  Verdict v = Judge(PlanOf("bf16"), a, nullptr);
  EXPECT_THAT(Text(v),
              HasSubstr("at one cell 5.0 % (k_proj@3), in all layers of one op "
                        "-10.0 % (rope), in one group of ops 30.0 % (matmul), "
                        "in one layer 50.0 % (layer 7). One cell moves the "
                        "final hidden state by up to 3.0 % of that error: what "
                        "one op leaves exact"));
  a.repairs[0].moved = 0.7;
  EXPECT_THAT(Text(Judge(PlanOf("bf16"), a, nullptr)),
              HasSubstr("up to 70.0 % of that error, which brings it no "
                        "nearer"));
  // An unfinished map may not have shown the best yet.
  a.repairs[0].effect.complete = false;
  v = Judge(PlanOf("bf16"), a, nullptr);
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
  const Verdict v = Judge(PlanOf("bf16,softmax=oracle"), a, nullptr);
  ASSERT_EQ(v.no_effect.size(), 1u);
  EXPECT_EQ(v.no_effect[0].op, Op::kRope);
  EXPECT_FALSE(v.no_effect[0].over_one_position);
}

TEST(VerdictTest, RepairIsTheLastSentence) {
  const SeedCase seed;
  const Verdict v = Judge(seed.plan, seed.attribution, &seed.phenomena);
  RepairResult repair;
  repair.budget = {BudgetMetric::kRelL2, 0.01};
  repair.strategies = {Strategy()};
  repair.error_before = 0.1;
  repair.best_error = 0.05;
  EXPECT_THAT(Sentences(v, &repair).back(),
              HasSubstr("No upgrades to {f32} keep the budget rel_l2<=0.01; "
                        "the best, of everything, reach 0.05"));
  repair.best_error = kInf;
  EXPECT_THAT(Sentences(v, &repair).back(), HasSubstr("breaks down too"));
  repair.stopped_in = "ops to upgrade";
  EXPECT_THAT(Sentences(v, &repair).back(), HasSubstr("stopped at: ops"));
  repair.stopped_in = "";
  repair.reached = true;
  repair.repair.error = 0.1;
  EXPECT_THAT(Sentences(v, &repair).back(), HasSubstr("by itself: 0.1"));
  repair.repair = {{{Op::kQProj, Strategy(), {3, 4}}}, seed.plan, 0.007};
  repair.entries = {"q_proj@3-4=f32"};
  EXPECT_THAT(Sentences(v, &repair).back(),
              HasSubstr("`q_proj@3-4=f32`: 2 (layer, op) cells, and an error "
                        "of 0.007 instead of 0.1"));
  repair.cost = RepairCost();
  repair.cost->decode_ratio = {0.75, 0.01};
  EXPECT_THAT(Sentences(v, &repair).back(),
              HasSubstr("0.750 ± 0.010 of the plan's speed"));
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
  const Verdict v = Judge(*plan, *attribution, nullptr);
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
        ->plan.rel_l2;
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
