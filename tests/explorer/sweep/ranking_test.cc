#include "explorer/sweep/ranking.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "explorer/error/metrics.h"
#include "explorer/sweep/axes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(ParseAxesTest, ReadsSelectorsAndLevels) {
  const auto axes = ParseAxes(" down_proj@2-3 = f32 , kahan;residual=bf16", 4);
  ASSERT_THAT(axes, IsOk());
  ASSERT_EQ(axes->size(), 2u);
  EXPECT_EQ((*axes)[0].selector, "down_proj@2-3");
  EXPECT_THAT((*axes)[0].levels, ElementsAre("f32", "kahan"));
  EXPECT_EQ((*axes)[1].selector, "residual");
  EXPECT_THAT((*axes)[1].levels, ElementsAre("bf16"));
  EXPECT_THAT(ParseAxes(kDefaultAxes, 1), IsOk());
}

TEST(ParseAxesTest, FormsOfAttentionAreLevels) {
  const auto axes =
      ParseAxes("softmax=f32,bf16;attention=eager,sdpa,fa2(64)", 4);
  ASSERT_THAT(axes, IsOk());
  EXPECT_THAT((*axes)[1].levels, ElementsAre("eager", "sdpa", "fa2(64)"));
  const auto plan = PlanAt(*axes, {1, 2}, 4);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->Text(), "softmax=bf16,attention=fa2(64)");
  EXPECT_THAT(ParseAxes("attention=sdpa,bf16", 4),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("'bf16' is no form of attention")));
}

TEST(ParseAxesTest, ErrorsNameWhatIsWrong) {
  const auto message = [](const std::string& text) {
    const auto axes = ParseAxes(text, 4);
    EXPECT_THAT(axes, StatusIs(absl::StatusCode::kInvalidArgument)) << text;
    return std::string(axes.status().message());
  };
  EXPECT_THAT(message(""), HasSubstr("SELECTOR=STRATEGY"));
  EXPECT_THAT(message("matmul"), HasSubstr("axis 'matmul'"));
  EXPECT_THAT(message("matmul="), HasSubstr("axis 'matmul='"));
  EXPECT_THAT(message("matmul=f32;"), HasSubstr("axis ''"));
  EXPECT_THAT(message("matmul=f32,"), HasSubstr("unknown strategy ''"));
  EXPECT_THAT(message("matmul=f32,fp8"),
              AllOf(HasSubstr("'fp8'"), HasSubstr("kahan")));
  EXPECT_THAT(message("softmax=f32,dot2"), HasSubstr("does not take"));
  EXPECT_THAT(message("matmull=f32"), HasSubstr("'matmull'"));
  EXPECT_THAT(message("q_proj@5=f32"), HasSubstr("<= 4"));
  EXPECT_THAT(message("matmul=f32,kahan,f32"), HasSubstr("f32 stands twice"));
  EXPECT_THAT(message("matmul=f32;matmul=kahan"),
              HasSubstr("matmul stands twice"));
  EXPECT_THAT(message("bf16,matmul=f32,kahan"), HasSubstr("SELECTOR=STRATEGY"));
  EXPECT_THAT(message("q_proj=f32,bf16;matmul=f32,kahan"),
              HasSubstr("overwrite all of q_proj"));
  EXPECT_THAT(message("q_proj=f32,bf16;q_proj@1-4=f32,kahan"),
              HasSubstr("overwrite all of q_proj"));
}

TEST(ParseAxesTest, OverlapsThatLeaveSomethingAreTaken) {
  EXPECT_THAT(ParseAxes("matmul=f32,bf16;q_proj=f32,bf16", 4), IsOk());
  EXPECT_THAT(ParseAxes("q_proj=f32,bf16;q_proj@1-3=f32,kahan", 4), IsOk());
}

TEST(ParseAxesTest, NumberOfPlansIsLimited) {
  // 4 levels each: 4^6 = 4096 plans, 4^7 are too many.
  std::vector<std::string> axes;
  for (int layer = 1; layer <= 7; ++layer) {
    axes.push_back(absl::StrCat("q_proj@", layer, "=f32,kahan,bf16,dot2"));
  }
  EXPECT_THAT(ParseAxes(absl::StrJoin(axes, ";"), 8),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr(absl::StrCat("more than ", kMaxPlans))));
  axes.pop_back();
  EXPECT_THAT(ParseAxes(absl::StrJoin(axes, ";"), 8), IsOk());
}

PlanResult Result(std::string plan, std::optional<double> score,
                  std::optional<double> rate) {
  PlanResult result;
  result.plan = std::move(plan);
  result.token.logits.emplace();
  result.prompt.logits.emplace();
  result.score = score;
  if (rate) result.decode_rate = result.prefill_rate = Spread{*rate, 0};
  return result;
}

TEST(RankPlansTest, SmallestScoreFirstThenTheFastest) {
  std::vector<PlanResult> plans = {
      Result("nan", kNaN, 90),  Result("c", 2, 10),
      Result("inf", kInf, 80),  Result("b", 1, 10),
      Result("nan2", kNaN, 95), Result("none", std::nullopt, 99),
      Result("a", 1, 20)};
  RankPlans(plans);
  std::vector<std::string> order;
  for (size_t i = 0; i < plans.size(); ++i) {
    order.push_back(plans[i].plan);
    EXPECT_EQ(plans[i].rank, i + 1);
    // Faster than all, but nothing to choose.
    EXPECT_EQ(plans[i].pareto, plans[i].plan == "a") << plans[i].plan;
  }
  EXPECT_THAT(order, ElementsAre("a", "b", "c", "none", "inf", "nan2", "nan"));
}

TEST(RankPlansTest, WhatIsMissingHasNoRank) {
  std::vector<PlanResult> plans = {
      Result("unmeasured", kNaN, std::nullopt),
      Result("untimed", 2, std::nullopt), Result("slow", 2, 1),
      Result("best", 1, std::nullopt), Result("broken", kNaN, std::nullopt)};
  plans[0].prompt.logits.reset();
  RankPlans(plans);
  std::vector<std::string> order;
  std::vector<size_t> ranks;
  for (const PlanResult& plan : plans) {
    order.push_back(plan.plan);
    ranks.push_back(plan.rank);
    // Of those without times nobody knows.
    EXPECT_EQ(plan.pareto, plan.plan == "slow") << plan.plan;
  }
  EXPECT_THAT(order,
              ElementsAre("best", "slow", "untimed", "broken", "unmeasured"));
  EXPECT_THAT(ranks, ElementsAre(1, 2, 3, 4, 0));
}

// A metric without a meaning is no breakdown.
TEST(RankMetricsTest, GrowthTellsNoErrorFromABrokenPlan) {
  const auto score_of = [](const std::vector<double>& mean_abs) {
    TraceMetrics prompt;
    for (size_t i = 0; i < mean_abs.size(); ++i) {
      LayerMetrics row;
      row.layer = i + 1;
      row.error.mean_abs = mean_abs[i];
      prompt.AddLayer(row);
    }
    for (const RankMetric& metric : RankMetrics()) {
      if (absl::string_view(metric.name) == "growth") {
        return metric.of({}, prompt);
      }
    }
    return std::optional<double>();
  };
  EXPECT_EQ(score_of({0, 0, 0}), 0);
  EXPECT_EQ(score_of({0, 1, 2}), std::nullopt);
  EXPECT_EQ(score_of({1, 2, 4}), 2);
  ASSERT_TRUE(score_of({1, kNaN, kNaN}).has_value());
  EXPECT_TRUE(std::isnan(*score_of({1, kNaN, kNaN})));
}

// Few different values, so that there are ties in one or both.
TEST(RankPlansTest, ParetoMarksAreTheDefinition) {
  Random random(4);
  for (int round = 0; round < 200; ++round) {
    std::vector<PlanResult> plans;
    const size_t count = 1 + random.Below(12);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t score = random.Below(7);
      plans.push_back(Result(absl::StrCat(i),
                             score == 6 ? kNaN : static_cast<double>(score),
                             static_cast<double>(random.Below(6))));
    }
    RankPlans(plans);
    for (const PlanResult& a : plans) {
      bool beaten = std::isnan(*a.score);
      for (const PlanResult& b : plans) {
        const bool as_good = b.score <= a.score &&
                             b.decode_rate->median >= a.decode_rate->median;
        const bool better =
            b.score < a.score || b.decode_rate->median > a.decode_rate->median;
        beaten = beaten || (as_good && better);
      }
      EXPECT_EQ(a.pareto, !beaten) << *a.score << " " << a.decode_rate->median;
    }
  }
}

std::vector<Axis> Axes(const std::vector<size_t>& sizes) {
  std::vector<Axis> axes;
  for (size_t a = 0; a < sizes.size(); ++a) {
    Axis axis;
    axis.selector = absl::StrCat("axis", a);
    for (size_t l = 0; l < sizes[a]; ++l) {
      axis.levels.push_back(absl::StrCat("level", l));
    }
    axes.push_back(axis);
  }
  return axes;
}

// Logarithms (base 2) of the score: 0 1 / 2 7, mean 2.5. The rows' means are
// 0.5 and 4.5, the columns' 1 and 4; the variance is 29 (2.5^2 + 1.5^2 + 0.5^2
// + 4.5^2), of which rows explain 4 * 2^2 = 16 and columns 4 * 1.5^2 = 9.
TEST(MainEffectsTest, TwoByTwoWorkedByHand) {
  std::vector<PlanResult> plans;
  const double log_scores[2][2] = {{0, 1}, {2, 7}};
  for (size_t i = 0; i < 2; ++i) {
    for (size_t j = 0; j < 2; ++j) {
      plans.push_back(
          Result("", std::exp2(log_scores[i][j]), j == 0 ? 100 : 25));
      plans.back().levels = {i, j};
    }
  }
  const std::vector<MainEffect> effects = MainEffects(Axes({2, 2}), plans);
  ASSERT_EQ(effects.size(), 2u);
  // exp and log of four terms: some ten roundings of numbers below 8.
  const double tolerance = 100 * 0x1p-53;
  EXPECT_NEAR(effects[0].error_share.value(), 16.0 / 29, tolerance);
  EXPECT_NEAR(effects[1].error_share.value(), 9.0 / 29, tolerance);
  EXPECT_NEAR(*effects[0].levels[0].error, std::exp2(0.5), 8 * tolerance);
  EXPECT_NEAR(*effects[0].levels[1].error, std::exp2(4.5), 32 * tolerance);
  EXPECT_NEAR(*effects[1].levels[0].error, 2, 8 * tolerance);
  EXPECT_NEAR(*effects[1].levels[1].error, 16, 32 * tolerance);
  EXPECT_NEAR(effects[0].decode_share.value(), 0, tolerance);
  EXPECT_NEAR(effects[1].decode_share.value(), 1, tolerance);
  EXPECT_NEAR(effects[0].levels[1].decode_rate.value(), 50, 50 * tolerance);
  EXPECT_NEAR(effects[1].levels[1].prefill_rate.value(), 25, 50 * tolerance);
  EXPECT_EQ(effects[0].selector, "axis0");
  EXPECT_EQ(effects[1].levels[1].strategy, "level1");
}

std::vector<PlanResult> Planted(const double (&effect)[3][3]) {
  std::vector<PlanResult> plans;
  for (size_t i = 0; i < 27; ++i) {
    const std::vector<size_t> levels = {i / 9, i / 3 % 3, i % 3};
    double log = -10;
    for (size_t a = 0; a < 3; ++a) log += effect[a][levels[a]];
    plans.push_back(Result("", std::exp(log), 1));
    plans.back().levels = levels;
  }
  return plans;
}

// Additive effects explain everything, each its own variance.
TEST(MainEffectsTest, AdditiveEffectsAreFoundAsPlanted) {
  const double effect[3][3] = {{-2, 0, 2}, {-1, 0, 1}, {0, 0, 0}};
  const std::vector<MainEffect> effects =
      MainEffects(Axes({3, 3, 3}), Planted(effect));
  // Variances 8/3, 2/3 and 0. Logarithms near 10 round to 2^-50, 27 times.
  const double tolerance = 27 * 0x1p-50;
  EXPECT_NEAR(effects[0].error_share.value(), 0.8, tolerance);
  EXPECT_NEAR(effects[1].error_share.value(), 0.2, tolerance);
  EXPECT_NEAR(effects[2].error_share.value(), 0, tolerance);
  EXPECT_NEAR(effects[0].error_share.value() + effects[1].error_share.value() +
                  effects[2].error_share.value(),
              1, 3 * tolerance);
  EXPECT_NEAR(*effects[0].levels[2].error / *effects[0].levels[0].error,
              std::exp(4), 100 * tolerance);
}

TEST(MainEffectsTest, InteractionsBelongToNoAxis) {
  const double none[3][3] = {};
  std::vector<PlanResult> plans = Planted(none);
  *plans[26].score *= 2;
  double sum = 0;
  for (const MainEffect& e : MainEffects(Axes({3, 3, 3}), plans)) {
    // 9 (1/9 - 1/27)^2 + 18 / 27^2 = 2/27 of a total of 1 - 1/27.
    EXPECT_NEAR(e.error_share.value(), 2.0 / 26, 27 * 0x1p-50);
    sum += e.error_share.value();
  }
  EXPECT_LT(sum, 1);
}

TEST(MainEffectsTest, NothingVariesNothingIsExplained) {
  std::vector<PlanResult> plans;
  for (size_t i = 0; i < 27; ++i) {
    // Not a number whose logarithm 27 of sum up to without rounding.
    plans.push_back(Result("", 0.1, 0.3));
    plans.back().levels = {i / 9, i / 3 % 3, i % 3};
  }
  for (const MainEffect& e : MainEffects(Axes({3, 3, 3}), plans)) {
    EXPECT_EQ(e.error_share, std::nullopt);
    EXPECT_EQ(e.decode_share, std::nullopt);
    EXPECT_EQ(e.prefill_share, std::nullopt);
  }
}

TEST(MainEffectsTest, SpeedsThatNotAllPlansHaveAreNotMeasured) {
  std::vector<PlanResult> plans;
  for (size_t i = 0; i < 4; ++i) {
    const double x = static_cast<double>(i + 1);
    plans.push_back(Result("", x, x));
    plans.back().levels = {i / 2, i % 2};
  }
  plans[3].decode_rate.reset();
  const std::vector<MainEffect> effects = MainEffects(Axes({2, 2}), plans);
  for (const MainEffect& e : effects) {
    EXPECT_TRUE(e.error_share.has_value());
    EXPECT_EQ(e.decode_share, std::nullopt);
    EXPECT_TRUE(e.prefill_share.has_value());
  }
  EXPECT_EQ(effects[0].levels[1].decode_rate, std::nullopt);
  EXPECT_TRUE(effects[0].levels[1].prefill_rate.has_value());
}

TEST(MainEffectsTest, PerfectAndBrokenPlansShowAndLeaveShares) {
  std::vector<PlanResult> plans;
  const double scores[] = {0, 1, kNaN, 4};
  for (size_t i = 0; i < 4; ++i) {
    plans.push_back(Result("", scores[i], 1));
    plans.back().levels = {i / 2, i % 2};
  }
  const std::vector<MainEffect> effects = MainEffects(Axes({2, 2}), plans);
  EXPECT_EQ(effects[0].levels[0].error, 0);
  EXPECT_TRUE(std::isnan(*effects[0].levels[1].error));
  // As 1, 1, 4, 4.
  EXPECT_NEAR(effects[0].error_share.value(), 1, 10 * 0x1p-53);
  EXPECT_NEAR(effects[1].error_share.value(), 0, 10 * 0x1p-53);
}

// What is emulated has no speed, which takes none from the others.
TEST(MainEffectsTest, EmulatedPlansHaveNoSpeeds) {
  std::vector<PlanResult> plans;
  for (size_t a = 0; a < 3; ++a) {
    for (size_t b = 0; b < 2; ++b) {
      const bool emulated = a == 2;
      plans.push_back(Result(
          absl::StrCat(a, b), std::exp2(a + 2 * b),
          emulated ? std::nullopt : std::optional<double>(a == 0 ? 8 : 2)));
      plans.back().levels = {a, b};
      plans.back().emulated = emulated;
    }
  }
  const std::vector<MainEffect> effects = MainEffects(Axes({3, 2}), plans);
  for (size_t level = 0; level < 3; ++level) {
    const MainEffect::Level& of = effects[0].levels[level];
    EXPECT_EQ(of.emulated, level == 2);
    EXPECT_EQ(of.decode_rate.has_value(), level != 2);
    EXPECT_TRUE(of.error.has_value());
  }
  EXPECT_DOUBLE_EQ(*effects[0].levels[0].decode_rate, 8);
  EXPECT_DOUBLE_EQ(*effects[0].decode_share, 1);
  EXPECT_DOUBLE_EQ(*effects[1].levels[1].prefill_rate, 4);
  EXPECT_FALSE(effects[1].levels[0].emulated);
  // The most accurate one is ranked, and on no front.
  plans[4].score = 0;
  RankPlans(plans);
  EXPECT_TRUE(plans[0].emulated);
  EXPECT_EQ(plans[0].rank, 1u);
  for (const PlanResult& plan : plans) {
    EXPECT_FALSE(plan.emulated && plan.pareto) << plan.plan;
  }
  // All of them: no speed at all.
  for (PlanResult& plan : plans) {
    plan.emulated = true;
    plan.decode_rate = plan.prefill_rate = std::nullopt;
  }
  for (const MainEffect& e : MainEffects(Axes({3, 2}), plans)) {
    EXPECT_FALSE(e.decode_share.has_value());
    EXPECT_TRUE(e.error_share.has_value());
  }
}

// Of plans that nothing tells apart, the time for it is linear still.
TEST(MarkLikeOnesTest, LooksAtSoManyPlacesAndNoFurther) {
  std::vector<PlanResult> plans;
  for (size_t i = 0; i < 3000; ++i) {
    PlanResult& plan = plans.emplace_back(
        Result(absl::StrCat(i), 1 + 1e-9 * static_cast<double>(i), 1));
    plan.replicate_scores = {0.5, 1.5 + 1e-9 * static_cast<double>(i), 1};
  }
  RankPlans(plans);
  EXPECT_LE(MarkLikeOnes(plans), kMostLikeOnes * plans.size());
  EXPECT_EQ(plans[0].last_like, 1 + kMostLikeOnes);
  EXPECT_EQ(plans[2999].last_like, 3000u);
}

}  // namespace
}  // namespace ulpscope
