#include "explorer/sweep/sweep.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
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
#include "explorer/sweep/ranking.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

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
          row.error.rel_l2, row.error.cosine, row.error.ulps->p99, row.std,
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

// From the exact one to the coarsest.
TEST(RunSweepTest, RanksFormatsOfTheKvCache) {
  SweepOptions options = DefaultOptions();
  options.axes =
      *ParseAxes("kv=f32,f16,bf16,fp8,q8_0,q4_0", Tiny().layers.size());
  Parallel parallel(2);
  const auto result = RunSweep(RunOf(Tiny(), parallel), options);
  ASSERT_THAT(result, IsOk());
  ASSERT_EQ(result->plans.size(), 6u);
  std::vector<double> errors;
  for (const char* plan : {"f32", "kv=f16", "kv=bf16", "kv=fp8", "kv=q4_0"}) {
    const TraceMetrics& metrics = Find(*result, plan).prompt;
    ASSERT_TRUE(metrics.final_norm.has_value());
    errors.push_back(metrics.final_norm->rel_l2);
  }
  // Six bits and more lie between f32, f16 and fp8, five between f16 and q4_0.
  EXPECT_LT(errors[0], errors[1]);
  EXPECT_LT(errors[1], errors[2]);
  EXPECT_LT(errors[1], errors[3]);
  EXPECT_LT(errors[2], errors[4]);
  EXPECT_GT(Find(*result, "kv=q8_0").prompt.final_norm->rel_l2, errors[0]);
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
    EXPECT_GT(plan.decode_rate->median, 0);
    EXPECT_GT(plan.prefill_rate->median, 0);
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
        EXPECT_NE(plan.decode_rate.has_value(), plan.timing.decode.empty());
        EXPECT_NE(plan.prefill_rate.has_value(), plan.timing.prefill.empty());
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
  EXPECT_FALSE(RateOf({}, 1).has_value());
  EXPECT_EQ(RateOf({0.5}, 3)->median, 6);
  EXPECT_EQ(RateOf({0.5}, 3)->half_iqr, 0);
  // Rates 1, 2, 4, 8, 16: quartiles 2 and 8.
  const Spread spread = *RateOf({1, 0.0625, 0.25, 0.125, 0.5}, 1);
  EXPECT_EQ(spread.median, 4);
  EXPECT_EQ(spread.half_iqr, 3);
}

TEST(RunSweepTest, EmulatedPlansHaveErrorsAndNoTimes) {
  Parallel parallel;
  SweepOptions options = DefaultOptions();
  options.axes.clear();
  options.plans = {"f32", "matmul=tc_h100", "bf16,qk@2=int8"};
  options.max_rounds = 3;
  options.timing_seconds = 0;
  TestMonitor monitor;
  const auto result = RunSweep(RunOf(Tiny(), parallel, monitor), options);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->stopped_in, "");
  for (const PlanResult& plan : result->plans) {
    const bool emulated = plan.plan != "f32";
    EXPECT_EQ(plan.emulated, emulated);
    EXPECT_TRUE(plan.measured());
    EXPECT_GT(plan.rank, 0u);
    EXPECT_TRUE(std::isfinite(*plan.score));
    EXPECT_EQ(plan.timing.prefill.size(), emulated ? 0u : 2u) << plan.plan;
    EXPECT_EQ(plan.timing.decode.size(), emulated ? 0u : 2u) << plan.plan;
    EXPECT_EQ(plan.decode_rate.has_value(), !emulated);
    EXPECT_EQ(plan.prefill_rate.has_value(), !emulated);
    EXPECT_EQ(plan.pareto, !emulated);
  }
  // Nothing but emulated ones: there is nothing to time.
  options.plans = {"matmul=fp8_h100"};
  const auto alone = RunSweep(RunOf(Tiny(), parallel), options);
  ASSERT_THAT(alone, IsOk());
  EXPECT_TRUE(alone->plans[0].measured());
  EXPECT_TRUE(alone->plans[0].timing.decode.empty());
}

// Half as many of the smallest errors, and some on the way to the largest one.
TEST(RunSweepTest, TimesSoManyPlansAtMost) {
  SweepOptions options = DefaultOptions();
  Parallel parallel(2);
  for (const size_t most : {1, 2, 7, 26, 27, 1000}) {
    options.most_timed = most;
    const auto result = RunSweep(RunOf(Tiny(), parallel), options);
    ASSERT_THAT(result, IsOk());
    std::vector<double> scores, timed;
    for (const PlanResult& plan : result->plans) {
      scores.push_back(*plan.score);
      EXPECT_NE(plan.decode_rate.has_value(), plan.not_chosen);
      if (plan.decode_rate.has_value()) timed.push_back(*plan.score);
    }
    ASSERT_EQ(timed.size(), std::min<size_t>(most, 27));
    const size_t first = most >= 27 ? 27 : most - most / 2;
    for (size_t i = 0; i < first; ++i) EXPECT_EQ(timed[i], scores[i]);
    if (most > 1) {
      EXPECT_EQ(timed.back(), scores.back());
    }
    if (most == 7) {
      // 4 of 27, and every 23/3rd of the other 23.
      EXPECT_EQ(timed[4], scores[4 + 23 / 3 - 1]);
      EXPECT_EQ(timed[5], scores[4 + 2 * 23 / 3 - 1]);
    }
  }
}

}  // namespace
}  // namespace ulpscope
