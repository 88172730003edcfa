// What the sentences of a verdict claim; figures are in tables and fields.

#include "explorer/report/verdict_text.h"

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "explorer/attribution/attribution.h"
#include "explorer/attribution/error_source.h"
#include "explorer/attribution/repair.h"
#include "explorer/attribution/truth.h"
#include "explorer/attribution/verdict.h"
#include "explorer/error/effect.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/format.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

std::string All(const Verdict& verdict) {
  return absl::StrJoin(Sentences(verdict, nullptr), "\n");
}

// A plan with a source, which an add exposes and a layer spreads.
Verdict Made() {
  Verdict v;
  v.plan = "torch-bf16";
  v.rel_l2 = 0.1;
  v.logits_rel_l2 = 0.2;
  v.kl = 0.3;
  v.source = ErrorSource();
  v.source->ops = {Op::kMlpResidual, Op::kAttnResidual};
  v.source->first_layer = 3;
  v.source->last_layer = 21;
  v.source->squared_share = 0.625;
  v.exposed_by =
      Exposure{22, Op::kMlpResidual, 59.6, 55.7, 1.86, 0.003, 0.12, 0.13};
  v.spread_by = Spreading{23, 0.97, 0.62, 1.31};
  return v;
}

TEST(VerdictTextTest, SourceIsNamedAndWhereItIsExposedAndSpread) {
  EXPECT_THAT(
      Sentences(Made(), nullptr),
      ElementsAre(
          AllOf(StartsWith("`torch-bf16` ends with"), HasSubstr("KL 0.3 nats")),
          AllOf(HasSubstr("mlp_residual and attn_residual at layers 3-21"),
                HasSubstr("62.5 %"), Not(HasSubstr("channel"))),
          StartsWith("mlp_residual of layer 22 exposes it"),
          StartsWith("Layer 23 spreads it")));
}

// Only of a massive activation that the source rounds is that said.
TEST(VerdictTextTest, ChannelIsMassiveOrRoundedIfItIs) {
  Verdict v = Made();
  v.source->channel = SourceChannel();
  SourceChannel& channel = *v.source->channel;
  channel.channel = 62;
  channel.value = 1667;
  channel.format = Format::kBF16;
  EXPECT_THAT(All(v), HasSubstr("goes through channel 62.\n"));
  channel.massive = true;
  EXPECT_THAT(All(v), HasSubstr("62, a massive activation of 1667.\n"));
  channel.rounded = true;
  EXPECT_THAT(All(v), HasSubstr("which they round to bf16.\n"));
}

TEST(VerdictTextTest, AgainstAPlanItIsTheirDifference) {
  Verdict v = Made();
  v.against = "f32";
  v.source->channel = SourceChannel();
  v.source->channel->massive = v.source->channel->rounded = true;
  EXPECT_THAT(All(v), AllOf(HasSubstr("difference from `f32` of 0.1"),
                            HasSubstr("The main source of the difference is "),
                            HasSubstr(", which is rounded to "),
                            Not(HasSubstr("oracle")), Not(HasSubstr("they"))));
  v.nonfinite_from = 4;
  v.rel_l2 = v.logits_rel_l2 = kNaN;
  EXPECT_THAT(All(v), AllOf(StartsWith("`torch-bf16` or `f32` breaks down"),
                            HasSubstr("the difference of the streams holds")));
  v = Made();
  v.against = "f32";
  v.source.reset();
  v.interaction = Interaction();
  EXPECT_THAT(All(v), HasSubstr("No (layer, op) cell alone changes"));
  v = Verdict();
  v.plan = "kahan";
  v.against = "f32";
  v.exact = true;
  EXPECT_THAT(Sentences(v, nullptr),
              ElementsAre(HasSubstr("gives the results of `f32`")));
  v.is_itself = true;
  EXPECT_THAT(Sentences(v, nullptr),
              ElementsAre(HasSubstr("is compared with itself")));
  v.plan = v.against = "oracle";
  EXPECT_THAT(Sentences(v, nullptr), ElementsAre(HasSubstr("no error here")));
}

TEST(VerdictTextTest, WhoIsNearerIsSaidOnlyWhereItIsKnown) {
  Verdict v = Made();
  v.against = "f32";
  const Effect near = {0.01, 0.02, 0.03, {}}, far = {0.1, 0.2, 0.3, {}};
  EXPECT_THAT(TruthSentence(v, {near, far}),
              StartsWith("Of the two, `torch-bf16` is the nearer one"));
  EXPECT_THAT(TruthSentence(v, {far, near}),
              StartsWith("Of the two, `f32` is the nearer one"));
  EXPECT_THAT(
      TruthSentence(v, {{0.1, 0.002, 0.003, {}}, near}),
      AllOf(HasSubstr("depends on the figure"),
            HasSubstr("`torch-bf16` has 0.1 of"),
            HasSubstr("`f32` has 0.01 of"), Not(HasSubstr("nearer one"))));
  EXPECT_THAT(TruthSentence(v, {near, near}), HasSubstr("equally far"));
  EXPECT_THAT(TruthSentence(v, {{}, near}), HasSubstr("not known"));
}

TEST(VerdictTextTest, PositionWithTheErrorIsNamed) {
  Attribution a;
  a.plan = {0.1, 0.2, 0.3, {}};
  a.positions = {{false, 0.2, 0.1, 0.7, 0.1}, {false, 0.8, 0.1, 0.3, 0.1}};
  EXPECT_EQ(PositionSentence(a),
            "Position 1 has 80.0 % of the final hidden state's squared error "
            "and 30.0 % of the logits'.");
  a.positions[1].massive = true;
  a.plan.ordinary_rel_l2 = 0.01;
  a.plan.ordinary_logits_rel_l2 = 0.02;
  a.plan.ordinary_kl = 0.03;
  EXPECT_THAT(*PositionSentence(a),
              AllOf(StartsWith("Position 1, where there is a massive "
                               "activation, has 80.0 %"),
                    HasSubstr("Without the 1 position with a massive "
                              "activation the errors are 0.01 of")));
  a.positions[0].massive = true;
  a.plan.ordinary_rel_l2.reset();
  EXPECT_THAT(*PositionSentence(a),
              HasSubstr("All positions have a massive activation."));
  a.plan.rel_l2 = kNaN;
  EXPECT_EQ(PositionSentence(a), std::nullopt);
  a.plan.rel_l2 = 0;
  EXPECT_EQ(PositionSentence(a), std::nullopt);
}

TEST(VerdictTextTest, NoSourceIsNoGuess) {
  Verdict v = Made();
  v.source.reset();
  v.ops = {{Op::kPostNorm, 0.4, 0.4}};
  EXPECT_THAT(All(v), AllOf(HasSubstr("There is no single source"),
                            Not(HasSubstr("The main source"))));
}

TEST(VerdictTextTest, BestCureIsNamedAndWhetherItHelps) {
  Verdict v = Made();
  v.source->cures = {
      {CureScope::kSource, Strategy(), {"residual=f32"}, kNaN},
      {CureScope::kOps, Strategy(), {"residual=kahan", "embed=f32"}, 0.051},
      {CureScope::kChannel, Strategy(), {"matmul=f32"}, 0.09}};
  EXPECT_THAT(All(v), AllOf(HasSubstr("`residual=kahan,embed=f32` leaves the "
                                      "least: an error of 0.051"),
                            HasSubstr("None halves the error")));
  v.source->cures[1].rel_l2 = 0.05;
  EXPECT_THAT(All(v), Not(HasSubstr("None halves")));
}

TEST(VerdictTextTest, WhatIsNoNumberIsNotAnError) {
  Verdict v;
  v.plan = "bf16";
  v.exact = true;
  EXPECT_THAT(Sentences(v, nullptr), ElementsAre(HasSubstr("no error")));
  v.exact = false;
  v.rel_l2 = v.logits_rel_l2 = kNaN;
  EXPECT_THAT(Sentences(v, nullptr), ElementsAre(HasSubstr("breaks down")));
  // It was stopped before it could.
  v.stopped_in = "the oracle";
  EXPECT_THAT(All(v), AllOf(HasSubstr("not run to its end"),
                            HasSubstr("was stopped: the oracle."),
                            Not(HasSubstr("breaks down"))));
  v.nonfinite_from = 7;
  EXPECT_THAT(All(v),
              AllOf(HasSubstr("breaks down"), HasSubstr("From layer 7 on")));
}

TEST(VerdictTextTest, SharesAreNotTakenForPartsOfTheErrorWhereTheyAreNone) {
  Verdict v = Made();
  v.interaction = Interaction();
  EXPECT_THAT(All(v), HasSubstr("do not add up"));
  v.interaction->adds_up = true;
  EXPECT_THAT(All(v), Not(HasSubstr("add up")));
}

TEST(VerdictTextTest, HeadsErrorsAreTheLogitsOwn) {
  Verdict v = Made();
  v.head = OpShare{Op::kLmHead, 0.75, 0};
  EXPECT_THAT(All(v), HasSubstr("75.0 % are lm_head's own"));
}

TEST(VerdictTextTest, RepairIsTheLastSentence) {
  const Verdict v = Made();
  RepairResult repair;
  repair.budget = {BudgetMetric::kRelL2, 0.01};
  repair.error_before = 0.1;
  repair.best_error = 0.05;
  const auto last = [&] { return Sentences(v, &repair).back(); };
  EXPECT_THAT(last(), HasSubstr("rel_l2<=0.01 were found; the best reach 0.05 "
                                "instead of 0.1."));
  repair.best_error = kInf;
  EXPECT_THAT(last(), HasSubstr("breaks down too"));
  // What was not searched is not known to break down.
  repair.stopped_in = "ops to upgrade";
  EXPECT_THAT(last(),
              AllOf(HasSubstr("stopped at: ops"), Not(HasSubstr("breaks"))));
  repair.reached = true;
  repair.repair.error = 0.1;
  EXPECT_THAT(last(),
              AllOf(HasSubstr("by itself: 0.1"), HasSubstr("stopped at: ops")));
  repair.stopped_in = "";
  repair.repair = {{{Op::kQProj, Strategy(), {3, 4}}}, Plan(24), 0.007};
  repair.entries = {"q_proj@3-4=f32"};
  EXPECT_THAT(last(), HasSubstr("`q_proj@3-4=f32`: 2 (layer, op) cells, and an "
                                "error of 0.007 instead of 0.1."));
}

}  // namespace
}  // namespace ulpscope
