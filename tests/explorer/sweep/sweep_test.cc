#include "explorer/sweep/sweep.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/ranking.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

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

PlanResult Result(std::string plan, std::optional<double> score, double rate) {
  PlanResult result;
  result.plan = std::move(plan);
  result.token.logits.emplace();
  result.prompt.logits.emplace();
  result.score = score;
  result.decode_rate.median = rate;
  result.prefill_rate.median = rate;
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
      Result("unmeasured", kNaN, kNaN), Result("untimed", 2, kNaN),
      Result("slow", 2, 1), Result("best", 1, kNaN),
      Result("broken", kNaN, kNaN)};
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
        const bool as_good =
            b.score <= a.score && b.decode_rate.median >= a.decode_rate.median;
        const bool better =
            b.score < a.score || b.decode_rate.median > a.decode_rate.median;
        beaten = beaten || (as_good && better);
      }
      EXPECT_EQ(a.pareto, !beaten) << *a.score << " " << a.decode_rate.median;
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
  EXPECT_NEAR(effects[0].error_share, 16.0 / 29, tolerance);
  EXPECT_NEAR(effects[1].error_share, 9.0 / 29, tolerance);
  EXPECT_NEAR(*effects[0].levels[0].error, std::exp2(0.5), 8 * tolerance);
  EXPECT_NEAR(*effects[0].levels[1].error, std::exp2(4.5), 32 * tolerance);
  EXPECT_NEAR(*effects[1].levels[0].error, 2, 8 * tolerance);
  EXPECT_NEAR(*effects[1].levels[1].error, 16, 32 * tolerance);
  EXPECT_NEAR(effects[0].decode_share, 0, tolerance);
  EXPECT_NEAR(effects[1].decode_share, 1, tolerance);
  EXPECT_NEAR(effects[0].levels[1].decode_rate, 50, 50 * tolerance);
  EXPECT_NEAR(effects[1].levels[1].prefill_rate, 25, 50 * tolerance);
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
  EXPECT_NEAR(effects[0].error_share, 0.8, tolerance);
  EXPECT_NEAR(effects[1].error_share, 0.2, tolerance);
  EXPECT_NEAR(effects[2].error_share, 0, tolerance);
  EXPECT_NEAR(
      effects[0].error_share + effects[1].error_share + effects[2].error_share,
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
    EXPECT_NEAR(e.error_share, 2.0 / 26, 27 * 0x1p-50);
    sum += e.error_share;
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
    EXPECT_TRUE(std::isnan(e.error_share));
    EXPECT_TRUE(std::isnan(e.decode_share));
    EXPECT_TRUE(std::isnan(e.prefill_share));
  }
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
  EXPECT_NEAR(effects[0].error_share, 1, 10 * 0x1p-53);
  EXPECT_NEAR(effects[1].error_share, 0, 10 * 0x1p-53);
}

const Weights& Tiny() { return LoadedOnce("synthetic:tiny"); }

SweepOptions DefaultOptions() {
  SweepOptions options;
  options.axes = *ParseAxes(kDefaultAxes, Tiny().layers.size());
  options.token = 97;
  options.prompt = {97, 5, 17, 250, 3};
  options.metric = &RankMetrics()[0];
  options.max_rounds = 1;
  options.decode_steps = 1;
  return options;
}

SweepResult RunTiny(size_t threads) {
  Parallel parallel(threads);
  auto result = RunSweep(RunOf(Tiny(), parallel), DefaultOptions());
  EXPECT_THAT(result, IsOk());
  return result.ok() ? *std::move(result) : SweepResult();
}

const PlanResult& Find(const SweepResult& result, const std::string& plan) {
  for (const PlanResult& candidate : result.plans) {
    if (candidate.plan == plan) return candidate;
  }
  ADD_FAILURE() << "no plan " << plan;
  return result.plans.front();
}

// Every figure of the errors, to compare bit for bit.
std::vector<double> Figures(const TraceMetrics& m) {
  std::vector<double> all = {m.final_norm->rmse,
                             m.logits->max_abs,
                             m.logits->kl,
                             m.logits->kl_max,
                             m.logits->top1_agreement,
                             m.logits->top10_overlap,
                             m.mean_growth.value_or(kNaN)};
  for (const LayerMetrics& row : m.layers) {
    for (const double x :
         {row.error.mean_abs, row.error.rmse, row.error.max_abs,
          static_cast<double>(row.error.max_row),
          static_cast<double>(row.error.max_col), row.error.mean_signed,
          row.error.rel_l2, row.error.cosine, row.error.ulps.p99, row.std,
          row.max_activation, row.cancellation.attn, row.cancellation.mlp}) {
      all.push_back(x);
    }
  }
  return all;
}

std::map<std::string, std::vector<double>> FiguresByPlan(
    const SweepResult& result) {
  std::map<std::string, std::vector<double>> figures;
  for (const PlanResult& plan : result.plans) {
    figures[plan.plan] = Figures(plan.token);
    const std::vector<double> prompt = Figures(plan.prompt);
    figures[plan.plan].insert(figures[plan.plan].end(), prompt.begin(),
                              prompt.end());
  }
  return figures;
}

TEST(RunSweepTest, RanksTheFullFactorial) {
  const SweepResult result = RunTiny(2);
  ASSERT_EQ(result.plans.size(), 27u);
  std::set<std::string> texts;
  std::set<std::vector<size_t>> levels;
  for (size_t i = 0; i < result.plans.size(); ++i) {
    const PlanResult& plan = result.plans[i];
    texts.insert(plan.plan);
    levels.insert(plan.levels);
    EXPECT_EQ(plan.rank, i + 1);
    EXPECT_EQ(plan.score, plan.prompt.final_hidden().rmse);
    EXPECT_GT(plan.score, 0);
    if (i > 0) {
      EXPECT_GE(plan.score, result.plans[i - 1].score);
    }
    EXPECT_GT(plan.decode_rate.median, 0);
    EXPECT_GT(plan.prefill_rate.median, 0);
    EXPECT_EQ(plan.timing.prefill.size(), 1u);
    EXPECT_EQ(plan.timing.decode.size(), 1u);
    EXPECT_EQ(plan.token.layers.size(), Tiny().layers.size());
    const auto parsed = Plan::Parse(plan.plan, Tiny().layers.size());
    ASSERT_THAT(parsed, IsOk());
    EXPECT_EQ(parsed->Text(), plan.plan);
  }
  EXPECT_EQ(texts.size(), 27u);
  EXPECT_EQ(levels.size(), 27u);
  EXPECT_LT(Find(result, "kahan").score, Find(result, "f32").score);
  EXPECT_LT(Find(result, "f32").score, Find(result, "bf16").score);
  ASSERT_EQ(result.effects.size(), 3u);
  EXPECT_EQ(result.effects[0].selector, "matmul");
}

// The levels that a plan carries are those in its text.
TEST(RunSweepTest, LevelsAreThePlans) {
  const SweepOptions options = DefaultOptions();
  for (const PlanResult& plan : RunTiny(1).plans) {
    std::vector<std::string> entries;
    for (size_t a = 0; a < 3; ++a) {
      entries.push_back(absl::StrCat(options.axes[a].selector, "=",
                                     options.axes[a].levels[plan.levels[a]]));
    }
    const auto parsed = Plan::Parse(absl::StrJoin(entries, ","), 8);
    ASSERT_THAT(parsed, IsOk());
    EXPECT_EQ(parsed->Text(), plan.plan);
  }
}

// What the report says of position 0.
TEST(RunSweepTest, SoftmaxIsNothingAtPositionZero) {
  std::map<std::vector<size_t>, std::vector<double>> seen;
  bool prompt_differs = false;
  std::map<std::vector<size_t>, double> prompt_rmse;
  for (const PlanResult& plan : RunTiny(2).plans) {
    const std::vector<size_t> others = {plan.levels[0], plan.levels[1]};
    const auto [at, is_new] = seen.emplace(others, Figures(plan.token));
    if (!is_new) {
      EXPECT_EQ(at->second, Figures(plan.token)) << plan.plan;
    }
    const auto [rmse, is_first] = prompt_rmse.emplace(others, *plan.score);
    prompt_differs =
        prompt_differs || (!is_first && rmse->second != plan.score);
  }
  EXPECT_EQ(seen.size(), 9u);
  EXPECT_TRUE(prompt_differs);
}

TEST(RunSweepTest, ErrorsDependOnNeitherThreadsNorTarget) {
  hwy::SetSupportedTargetsForTest(0);
  const auto expected = FiguresByPlan(RunTiny(1));
  EXPECT_EQ(expected.size(), 27u);
  EXPECT_EQ(FiguresByPlan(RunTiny(2)), expected);
  EXPECT_EQ(FiguresByPlan(RunTiny(3)), expected);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    EXPECT_EQ(FiguresByPlan(RunTiny(1)), expected) << hwy::TargetName(target);
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(RunSweepTest, PlansCanBeGivenInsteadOfAxes) {
  SweepOptions options = DefaultOptions();
  options.axes.clear();
  options.plans = {"softmax=f32,matmul=kahan", "oracle"};
  Parallel parallel;
  const auto result = RunSweep(RunOf(Tiny(), parallel), options);
  ASSERT_THAT(result, IsOk());
  ASSERT_EQ(result->plans.size(), 2u);
  EXPECT_TRUE(result->effects.empty());
  EXPECT_EQ(result->plans[0].plan, "oracle");
  EXPECT_EQ(result->plans[0].score, 0);
  EXPECT_EQ(result->plans[1].plan, "matmul=kahan");
}

TEST(RunSweepTest, TwoRoundsAreTimedHoweverLittleTimeThereIs) {
  SweepOptions options = DefaultOptions();
  options.axes.clear();
  options.plans = {"f32"};
  options.max_rounds = 5;
  options.decode_steps = 3;
  options.timing_seconds = 0;
  Parallel parallel;
  const auto result = RunSweep(RunOf(Tiny(), parallel), options);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->plans[0].timing.prefill.size(), 2u);
  EXPECT_EQ(result->plans[0].timing.decode.size(), 6u);
}

// Nothing is left of the streams but two at a time.
TEST(RunSweepTest, ErrorsDoNotDependOnTheMemory) {
  const auto expected = FiguresByPlan(RunTiny(2));
  SweepOptions options = DefaultOptions();
  Parallel parallel(2);
  for (const size_t memory : {size_t{0}, size_t{1} << 20}) {
    const auto result = RunSweep(RunOf(Tiny(), parallel, memory), options);
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(FiguresByPlan(*result), expected) << memory;
  }
}

// A sweep whose stop says true from some question on, for questions throughout
// it: what it has is what it would have without the stop.
TEST(RunSweepTest, StoppedAnywhereHasWhatItMeasuredUntilThen) {
  SweepOptions options = DefaultOptions();
  options.axes = *ParseAxes("matmul=f32,bf16;softmax=f32,bf16", 8);
  options.max_rounds = 2;
  options.decode_steps = 2;
  options.timing_seconds = 0;
  Parallel parallel(2);
  size_t asked = 0, allowed = SIZE_MAX;
  TestMonitor monitor([&] { return asked++ >= allowed; });
  for (const size_t memory : {SIZE_MAX, size_t{0}}) {
    const auto run = RunOf(Tiny(), parallel, monitor, memory);
    allowed = SIZE_MAX;
    asked = 0;
    const auto full = RunSweep(run, options);
    ASSERT_THAT(full, IsOk());
    EXPECT_EQ(full->stopped_in, "");
    const auto expected = FiguresByPlan(*full);
    const size_t questions = asked;
    std::set<std::string> stopped_in;
    const size_t step = questions / 30 + 1;
    for (allowed = 0; allowed < questions; allowed += step) {
      SCOPED_TRACE(allowed);
      asked = 0;
      const auto result = RunSweep(run, options);
      ASSERT_THAT(result, IsOk());
      EXPECT_LE(asked, allowed + 3);  // the stop is not asked much longer
      ASSERT_NE(result->stopped_in, "");
      stopped_in.insert(result->stopped_in);
      ASSERT_EQ(result->plans.size(), 4u);
      size_t measured = 0;
      for (const PlanResult& plan : result->plans) {
        const PlanResult& whole = Find(*full, plan.plan);
        EXPECT_EQ(plan.levels, whole.levels);
        if (plan.measured()) {
          ++measured;
          EXPECT_EQ(plan.rank, measured);
          EXPECT_EQ(plan.score, whole.score);
          EXPECT_EQ(Figures(plan.prompt), Figures(whole.prompt));
          EXPECT_EQ(Figures(plan.token), Figures(whole.token));
        } else {
          EXPECT_EQ(plan.rank, 0u);
          EXPECT_FALSE(plan.score.has_value());
          EXPECT_FALSE(plan.pareto);
        }
        ASSERT_LE(plan.prompt.layers.size(), whole.prompt.layers.size());
        for (size_t l = 0; l < plan.prompt.layers.size(); ++l) {
          EXPECT_EQ(plan.prompt.layers[l].error.rmse,
                    whole.prompt.layers[l].error.rmse);
        }
        EXPECT_EQ(std::isnan(plan.decode_rate.median),
                  plan.timing.decode.empty());
        EXPECT_EQ(std::isnan(plan.prefill_rate.median),
                  plan.timing.prefill.empty());
      }
      EXPECT_EQ(result->effects.empty(), measured < 4);
      for (const PlanResult& plan : result->plans) {
        EXPECT_TRUE(measured == 4 || plan.timing.prefill.empty());
      }
      if (measured == 4) {
        EXPECT_EQ(FiguresByPlan(*result), expected);
      }
    }
    // Both of the errors' and of the timing's.
    EXPECT_GT(stopped_in.count("while measuring errors, before the first layer "
                               "was done"),
              0);
    EXPECT_GT(stopped_in.count("in round 1 of timing"), 0);
    EXPECT_GT(stopped_in.count("in round 2 of timing"), 0);
    if (memory > 0) {
      EXPECT_GT(stopped_in.count("while measuring errors, after layer 4 of 8"),
                0);
    } else {
      EXPECT_GT(
          stopped_in.count("while measuring errors, with 2 of 4 plans done"),
          0);
    }
  }
}

TEST(RunSweepTest, BadTokensAreAnError) {
  SweepOptions options = DefaultOptions();
  Parallel parallel;
  options.prompt = {};
  EXPECT_THAT(RunSweep(RunOf(Tiny(), parallel), options),
              StatusIs(absl::StatusCode::kInvalidArgument));
  options.prompt = {300};
  EXPECT_THAT(RunSweep(RunOf(Tiny(), parallel), options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("not in the vocabulary")));
}

TEST(RunSweepTest, ByGrowthAnExactPlanIsTheBest) {
  SweepOptions options = DefaultOptions();
  options.axes.clear();
  options.plans = {"bf16", "oracle", "f32"};
  for (const RankMetric& metric : RankMetrics()) {
    if (absl::string_view(metric.name) == "growth") options.metric = &metric;
  }
  Parallel parallel;
  const auto result = RunSweep(RunOf(Tiny(), parallel), options);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->plans[0].plan, "oracle");
  EXPECT_EQ(result->plans[0].score, 0);
  const auto worst = WorstPlan(RunOf(Tiny(), parallel), options);
  ASSERT_THAT(worst, IsOk());
  EXPECT_NE(worst->Text(), "oracle");
}

// What is measured is there before anything is timed.
TEST(RunSweepTest, ErrorsAreHandedOutBeforeTheTiming) {
  SweepOptions options = DefaultOptions();
  Parallel parallel;
  TestMonitor monitor;
  size_t handed_out = 0;
  const auto result = RunSweep(
      RunOf(Tiny(), parallel, monitor), options, [&](const SweepResult& part) {
        ++handed_out;
        EXPECT_THAT(monitor.ended(), ElementsAre("errors"));
        ASSERT_EQ(part.plans.size(), 27u);
        EXPECT_EQ(part.effects.size(), 3u);
        for (size_t i = 0; i < part.plans.size(); ++i) {
          EXPECT_EQ(part.plans[i].rank, i + 1);
          EXPECT_TRUE(part.plans[i].score.has_value());
          EXPECT_TRUE(part.plans[i].timing.prefill.empty());
        }
      });
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(handed_out, 1u);
  EXPECT_THAT(result->failed, IsOk());
  EXPECT_THAT(monitor.ended(), ElementsAre("errors", "timing"));
}

TEST(RateOfTest, IsTheMedianAndHalfTheInterquartileRange) {
  EXPECT_TRUE(std::isnan(RateOf({}, 1).median));
  EXPECT_TRUE(std::isnan(RateOf({}, 1).half_iqr));
  EXPECT_EQ(RateOf({0.5}, 3).median, 6);
  EXPECT_EQ(RateOf({0.5}, 3).half_iqr, 0);
  // Rates 1, 2, 4, 8, 16: quartiles 2 and 8.
  const Spread spread = RateOf({1, 0.0625, 0.25, 0.125, 0.5}, 1);
  EXPECT_EQ(spread.median, 4);
  EXPECT_EQ(spread.half_iqr, 3);
}

}  // namespace
}  // namespace ulpscope
