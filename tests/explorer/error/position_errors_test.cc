#include "explorer/error/position_errors.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

#include "absl/status/status_matchers.h"
#include "explorer/error/baseline.h"
#include "explorer/error/effects.h"
#include "explorer/error/run.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::testing::ElementsAre;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A model of one layer, three channels and a vocabulary of two, at three
// positions, of which the first has a massive activation after the embedding.
class PositionErrorsTest : public testing::Test {
 protected:
  PositionErrorsTest() {
    baseline_.reference_plan = Plan::Oracle(1);
    baseline_.plan = Plan(1);
    baseline_.tokens = {7, 8, 9};
    baseline_.positions = 3;
    baseline_.hidden_size = 3;
    baseline_.vocab_size = 2;
    baseline_.reference.states = {
        {{500, 1, 1, 1, 2, 1, 1, 1, 2}, {}},
        {{3, 0, 4, 0, 5, 12, 0, 8, 6}, {}},
    };
    baseline_.reference.logits = {1, 0, 0, 2, 2, 2};
    baseline_.run.states = {
        {{500, 1, 1, 1, 2, 1, 1, 1, 2}, {}},
        {{3, 4, 4, 2, 5, 12, 0, 8, 5}, {}},  // errs by 4, 2 and 1
    };
    baseline_.run.logits = {1, 3, 0, 1, 2, 2};  // errs by 3, 1 and 0
  }

  const Baseline& Sized() {
    FillSizes(baseline_, parallel_, baseline_.reference);
    return baseline_;
  }

  ulpscope::Run run() { return RunOf(weights_, parallel_); }

  Weights weights_;
  Parallel parallel_{1};
  Baseline baseline_;
};

TEST_F(PositionErrorsTest, AreOfEachPosition) {
  const auto errors = ErrorsByPosition(run(), Sized());
  ASSERT_THAT(errors, IsOk());
  ASSERT_EQ(errors->of.size(), 3u);
  const auto& of = errors->of;
  EXPECT_TRUE(of[0].massive);
  EXPECT_FALSE(of[1].massive);
  EXPECT_FALSE(of[2].massive);
  EXPECT_EQ(of[0].squared_share, 16.0 / 21);
  EXPECT_EQ(of[1].squared_share, 4.0 / 21);
  EXPECT_EQ(of[2].squared_share, 1.0 / 21);
  EXPECT_EQ(of[0].rel_l2, 4.0 / 5);
  EXPECT_EQ(of[1].rel_l2, 2.0 / 13);
  EXPECT_EQ(of[2].rel_l2, 1.0 / 10);
  EXPECT_EQ(of[0].logits_squared_share, 0.9);
  EXPECT_EQ(of[1].logits_squared_share, 0.1);
  EXPECT_EQ(of[2].logits_squared_share, 0);
  // KL of two outcomes with log-odds a and b: p (a - b) + the difference of
  // their normalizers, p = 1 / (1 + exp(-a)).
  const auto kl = [](double a, double b) {
    return (a - b) / (1 + std::exp(-a)) - std::log1p(std::exp(a)) +
           std::log1p(std::exp(b));
  };
  EXPECT_NEAR(of[0].kl, kl(1, -2), 1e-14);
  EXPECT_NEAR(of[1].kl, kl(-2, -1), 1e-14);
  EXPECT_EQ(of[2].kl, 0);
}

TEST_F(PositionErrorsTest, EffectsAreOverAllAndOverTheOrdinaryPositions) {
  const Baseline& baseline = Sized();
  const auto outcome = OutcomeOfPlan(run(), baseline);
  const auto errors = ErrorsByPosition(run(), baseline);
  ASSERT_THAT(outcome, IsOk());
  ASSERT_THAT(errors, IsOk());
  const Effect& e = outcome->effect;
  const auto& of = errors->of;
  EXPECT_EQ(e.rel_l2, std::sqrt(21.0) / std::sqrt(25.0 + 169 + 100));
  EXPECT_EQ(e.ordinary_rel_l2, std::sqrt(5.0) / std::sqrt(269.0));
  EXPECT_EQ(e.logits_rel_l2, std::sqrt(10.0) / std::sqrt(13.0));
  EXPECT_EQ(e.ordinary_logits_rel_l2, std::sqrt(1.0) / std::sqrt(12.0));
  EXPECT_EQ(e.kl, (of[0].kl + of[1].kl + of[2].kl) / 3);
  EXPECT_EQ(e.ordinary_kl, (of[1].kl + of[2].kl) / 2);
}

// As if the prompt had no other positions.
TEST_F(PositionErrorsTest, OrdinaryFiguresAreThoseOfTheOrdinaryRowsAlone) {
  const auto whole = OutcomeOfPlan(run(), Sized());
  ASSERT_THAT(whole, IsOk());
  Baseline rest = baseline_;
  rest.positions = 2;
  rest.tokens = {8, 9};
  rest.reference = ReferenceRun();
  const auto cut = [](const RunResults& from, RunResults& to) {
    to = from;
    for (auto& state : to.states) {
      state.stream.erase(state.stream.begin(), state.stream.begin() + 3);
    }
    to.logits.erase(to.logits.begin(), to.logits.begin() + 2);
  };
  cut(baseline_.reference, rest.reference);
  cut(baseline_.run, rest.run);
  FillSizes(rest, parallel_, rest.reference);
  const auto alone = OutcomeOfPlan(run(), rest);
  ASSERT_THAT(alone, IsOk());
  EXPECT_EQ(whole->effect.ordinary_rel_l2, alone->effect.rel_l2);
  EXPECT_EQ(whole->effect.ordinary_logits_rel_l2, alone->effect.logits_rel_l2);
  EXPECT_EQ(whole->effect.ordinary_kl, alone->effect.kl);
  // There all positions are ordinary.
  EXPECT_EQ(alone->effect.ordinary_rel_l2, alone->effect.rel_l2);
  EXPECT_EQ(alone->effect.ordinary_kl, alone->effect.kl);
}

TEST_F(PositionErrorsTest, WhereAllAreMassiveThereAreNoOrdinaryFigures) {
  baseline_.reference.states[0].stream = {500, 1, 1, 500, 2, 1, 500, 1, 2};
  const auto outcome = OutcomeOfPlan(run(), Sized());
  ASSERT_THAT(outcome, IsOk());
  EXPECT_TRUE(outcome->effect.complete());
  EXPECT_EQ(outcome->effect.ordinary_rel_l2, std::nullopt);
  EXPECT_EQ(outcome->effect.ordinary_logits_rel_l2, std::nullopt);
  EXPECT_EQ(outcome->effect.ordinary_kl, std::nullopt);
  EXPECT_TRUE(IsWhole(*outcome, 1));
}

// Not the plan's: what is massive does not depend on what is compared.
TEST_F(PositionErrorsTest, WhatIsMassiveIsTheReferences) {
  baseline_.run.states[1].stream[3] = 1e6;
  const auto errors = ErrorsByPosition(run(), Sized());
  ASSERT_THAT(errors, IsOk());
  EXPECT_FALSE(errors->of[1].massive);
  EXPECT_THAT(baseline_.reference.massive, ElementsAre(true, false, false));
}

TEST_F(PositionErrorsTest, WithoutAnErrorSharesAre0) {
  static_cast<RunResults&>(baseline_.run) = baseline_.reference;
  const auto errors = ErrorsByPosition(run(), Sized());
  ASSERT_THAT(errors, IsOk());
  for (const PositionError& p : errors->of) {
    EXPECT_EQ(p.squared_share, 0);
    EXPECT_EQ(p.logits_squared_share, 0);
    EXPECT_EQ(p.rel_l2, 0);
    EXPECT_EQ(p.kl, 0);
  }
}

TEST_F(PositionErrorsTest, ANaNAtAMassivePositionIsNoneOfTheOthers) {
  baseline_.run.states[1].stream[0] = kNaN;
  const auto outcome = OutcomeOfPlan(run(), Sized());
  const auto errors = ErrorsByPosition(run(), baseline_);
  ASSERT_THAT(outcome, IsOk());
  ASSERT_THAT(errors, IsOk());
  EXPECT_TRUE(std::isnan(*outcome->effect.rel_l2));
  EXPECT_EQ(outcome->effect.ordinary_rel_l2, std::sqrt(5.0) / std::sqrt(269.0));
  EXPECT_TRUE(std::isnan(errors->of[0].squared_share));
  EXPECT_TRUE(std::isnan(errors->of[1].squared_share));
  EXPECT_EQ(errors->of[1].rel_l2, 2.0 / 13);
}

}  // namespace
}  // namespace ulpscope
