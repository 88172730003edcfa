#include "explorer/recommend/recommend.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/baseline.h"
#include "explorer/error/budget.h"
#include "explorer/error/windows.h"
#include "explorer/recommend/clock.h"
#include "explorer/recommend/recommendation.h"
#include "explorer/recommend/space.h"
#include "explorer/sweep/axes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "kernels/strategy/strategy.h"
#include "model/architecture/cell.h"
#include "model/architecture/op.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;

const Weights& Tiny() { return LoadedOnce("synthetic:tiny"); }

Window TextOf(std::vector<int32_t> tokens) {
  const size_t size = tokens.size();
  return {"text", 0, std::move(tokens), 0, size};
}

// What each strategy takes of a cell beyond f32, by name; the rest is free.
using Prices = std::map<std::string, double>;

// Times that are sums over cells, always the same.
class PricedClock : public PlanClock {
 public:
  explicit PricedClock(Prices prices) : prices_(std::move(prices)) {}

  double SecondsOf(const Plan& plan) const {
    double seconds = 1;
    for (const Cell& cell : CellsOf(Tiny().config)) {
      const auto price =
          prices_.find(std::string(plan.Get(cell.layer, cell.op).name()));
      if (price == prices_.end()) continue;
      seconds += price->second * WorkOf(Tiny().config, cell.op) / 1e6;
    }
    return seconds;
  }

  absl::StatusOr<TimedRun> Time(absl::Span<const Plan> plans, size_t i,
                                size_t /*round*/) override {
    const double seconds = SecondsOf(plans[i]);
    return TimedRun{{{seconds}, {seconds}}, 0};
  }

 private:
  const Prices prices_;
};

class RecommendTest : public testing::Test {
 protected:
  RecommendTest() : layers_(Tiny().layers.size()) {
    options_.text = TextOf({97, 3, 200, 41, 11, 64});
    options_.other_text = TextOf({97, 8, 120, 77, 250, 31, 9});
    options_.least_gain = 0;
    options_.like_error = 1;
    options_.negligible = 0;
  }

  void SetAxes(absl::string_view text) {
    const auto axes = ParseAxes(text, layers_);
    ASSERT_THAT(axes, IsOk());
    options_.axes = *axes;
  }

  Recommendation Found(PlanClock& clock) {
    auto result = Recommend(RunOf(Tiny(), parallel_), options_, clock);
    EXPECT_THAT(result, IsOk());
    return result.ok() ? *std::move(result) : Recommendation();
  }

  std::vector<double> ErrorsOf(const std::vector<Plan>& plans,
                               const Window& text) {
    const auto run = RunOf(Tiny(), parallel_);
    const auto baseline =
        MakeBaseline(run, Plan(layers_), Plan::Oracle(layers_), text.tokens);
    EXPECT_THAT(baseline, IsOk());
    BudgetMeter meter(run, *baseline, options_.budget.metric);
    const auto errors = meter.Measure(plans);
    EXPECT_THAT(errors, IsOk());
    return *errors;
  }

  // Every plan of the axes: each of their cells under each of its strategies.
  std::vector<Plan> EveryPlan() const {
    std::vector<Plan> plans = {Plan(layers_)};
    for (const SearchAxis& axis :
         SearchAxesOf(Tiny().config, options_.axes, options_.budget.metric)) {
      for (const Cell& cell : axis.cells) {
        std::vector<Plan> more;
        for (const Plan& plan : plans) {
          for (const Strategy level : axis.levels) {
            more.push_back(plan);
            more.back().Set(cell.layer, cell.op, level);
          }
        }
        plans = std::move(more);
      }
    }
    return plans;
  }

  size_t layers_;
  Parallel parallel_;
  RecommendOptions options_;
};

struct Space {
  const char* axes;
  Prices prices;
};

// Six to eight cells each, so that every plan can be run: 64 to 729.
const Space kSpaces[] = {
    // The cheaper the less accurate.
    {"q_proj@1-4=f32,bf16;down_proj@4-7=f32,bf16", {{"bf16", -3}}},
    {"k_proj@3-5=f64,f32,bf16;down_proj@5-7=f64,f32,bf16",
     {{"f64", 2}, {"bf16", -1}}},
    {"gate_proj@6-8=f32,f16,bf16_acc;o_proj@1-4=f32,bf16",
     {{"f16", -1}, {"bf16_acc", -3}, {"bf16", -2}}},
    // A strategy that is of no use, and one of small gain.
    {"up_proj@2-4=f32,kahan,bf16;v_proj@1-4=f32,f16",
     {{"kahan", 5}, {"bf16", -2}, {"f16", -0.1}}},
    {"residual@2-4=f32,bf16;rmsnorm@7=f32,bf16", {{"bf16", -1}}},
};

// For each space the fastest plan that keeps the budget is found, as if all had
// been tried, from budgets that few plans keep to ones that most do.
TEST_F(RecommendTest, FindsTheOptimumOfAnExhaustiveSearch) {
  options_.other_text = options_.text;
  for (const BudgetMetric metric :
       {BudgetMetric::kKl, BudgetMetric::kRelL2, BudgetMetric::kLogitsRelL2}) {
    options_.budget.metric = metric;
    for (const Space& space : kSpaces) {
      SetAxes(space.axes);
      PricedClock clock(space.prices);
      const std::vector<Plan> plans = EveryPlan();
      const std::vector<double> errors = ErrorsOf(plans, options_.text);
      std::vector<double> sorted = errors;
      std::sort(sorted.begin(), sorted.end());
      for (const double part : {0.02, 0.1, 0.3, 0.5, 0.8, 1.0}) {
        options_.budget.limit = sorted[static_cast<size_t>(
            part * static_cast<double>(sorted.size() - 1))];
        double optimum = HUGE_VAL;
        for (size_t i = 0; i < plans.size(); ++i) {
          if (errors[i] > options_.budget.limit) continue;
          optimum = std::min(optimum, clock.SecondsOf(plans[i]));
        }
        SCOPED_TRACE(testing::Message()
                     << space.axes << " within " << BudgetText(options_.budget)
                     << ", " << plans.size() << " plans");
        const Recommendation result = Found(clock);
        ASSERT_EQ(result.verdict, RecommendVerdict::kRecommended);
        const Finalist& chosen = result.finalists[*result.chosen];
        EXPECT_LE(chosen.error, options_.budget.limit);
        EXPECT_NEAR(clock.SecondsOf(chosen.plan), optimum, 1e-12)
            << chosen.plan.Text();
        EXPECT_TRUE(result.complete);
      }
    }
  }
}

TEST_F(RecommendTest, SaysWhatTheLeastErrorIs) {
  SetAxes("matmul=f32,f64,bf16");
  options_.budget = {BudgetMetric::kKl, 1e-30};
  PricedClock clock({{"bf16", -1}, {"f64", 1}});
  const Recommendation result = Found(clock);
  EXPECT_EQ(result.verdict, RecommendVerdict::kNotMet);
  ASSERT_TRUE(result.chosen.has_value());
  const double least = result.finalists[*result.chosen].error;
  EXPECT_GT(least, options_.budget.limit);
  for (const Finalist& finalist : result.finalists) {
    EXPECT_GE(finalist.error, least);
    EXPECT_FALSE(finalist.keeps);
  }
  EXPECT_LE(least, ErrorsOf({Plan(layers_)}, options_.text)[0]);
}

// A budget between a plan's errors on the two texts: the plan is found, and
// another one is recommended.
TEST_F(RecommendTest, WhatTheOtherTextRefusesIsNotRecommended) {
  SetAxes("matmul=f32,bf16");
  PricedClock clock({{"bf16", -1}});
  const auto all_bf16 = Plan::Parse("matmul=bf16", layers_);
  ASSERT_THAT(all_bf16, IsOk());
  const double error = ErrorsOf({*all_bf16}, options_.text)[0];
  const double other = ErrorsOf({*all_bf16}, options_.other_text)[0];
  if (error > other) std::swap(options_.text, options_.other_text);
  options_.budget.limit = std::sqrt(error * other);
  ASSERT_LT(std::min(error, other), options_.budget.limit);
  const Recommendation result = Found(clock);
  ASSERT_EQ(result.verdict, RecommendVerdict::kRecommended);
  const Finalist& chosen = result.finalists[*result.chosen];
  EXPECT_TRUE(chosen.confirmed.value_or(false));
  EXPECT_LE(ErrorsOf({chosen.plan}, options_.other_text)[0],
            options_.budget.limit);
  EXPECT_NE(chosen.plan.Text(), all_bf16->Text());
  EXPECT_GE(result.failed_confirmations, 1);
  const Finalist& fastest = result.finalists[0];
  EXPECT_EQ(fastest.plan.Text(), all_bf16->Text());
  EXPECT_TRUE(fastest.keeps);
  EXPECT_FALSE(*fastest.confirmed);
}

TEST_F(RecommendTest, SaysWhatEachEntryDoes) {
  SetAxes("down_proj=f32,bf16;o_proj=f32,bf16");
  options_.budget.limit = 1;
  PricedClock clock({{"bf16", -1}});
  const Recommendation result = Found(clock);
  ASSERT_EQ(result.changes.size(), 2);
  for (const PlanChange& change : result.changes) {
    EXPECT_GT(change.predicted_ratio, 1);
    const auto without = result.finalists[*result.chosen].plan.With(
        change.entry.substr(0, change.entry.find('=')) + "=f32");
    ASSERT_THAT(without, IsOk());
    EXPECT_EQ(change.error_without, ErrorsOf({*without}, options_.text)[0]);
  }
  // The plan and f32, on both texts.
  EXPECT_EQ(result.layers.size(), 4);
  EXPECT_EQ(result.layers[0].metrics.layers.size(), layers_);
  EXPECT_EQ(result.layers[0].metrics.logits->kl,
            result.finalists[*result.chosen].error);
}

// Wherever it is stopped, it says so, and has what it found until then.
TEST_F(RecommendTest, StoppedItHasWhatItFound) {
  SetAxes("matmul=f32,bf16");
  options_.budget.limit = 1;
  PricedClock clock({{"bf16", -1}});
  TestMonitor counter;
  ASSERT_THAT(Recommend(RunOf(Tiny(), parallel_, counter), options_, clock),
              IsOk());
  const size_t asked = counter.asked();
  ASSERT_GT(asked, 20);
  bool any_chosen = false;
  for (size_t part = 0; part < 16; ++part) {
    TestMonitor monitor(asked * part / 16);
    const auto result =
        Recommend(RunOf(Tiny(), parallel_, monitor), options_, clock);
    ASSERT_THAT(result, IsOk());
    EXPECT_THAT(result->stopped_in, Not(IsEmpty()));
    any_chosen =
        any_chosen || (result->chosen.has_value() &&
                       result->verdict == RecommendVerdict::kUnfinished);
  }
  EXPECT_TRUE(any_chosen);
}

TEST_F(RecommendTest, EachStageIsTold) {
  SetAxes("matmul=f32,bf16");
  PricedClock clock({{"bf16", -1}});
  std::vector<std::string> stages;
  const auto on_stage = [&](const Recommendation& part) {
    stages.push_back(part.stopped_in);
    EXPECT_TRUE(part.levels.empty() || stages.size() > 1);
  };
  ASSERT_THAT(Recommend(RunOf(Tiny(), parallel_), options_, clock, on_stage),
              IsOk());
  EXPECT_THAT(stages, Contains("the search"));
  EXPECT_THAT(stages, Contains("the timing of the finalists"));
}

TEST_F(RecommendTest, AnAxisThatTheMetricDoesNotSeeIsAnError) {
  SetAxes("lm_head=f32,bf16");
  options_.budget = {BudgetMetric::kRelL2, 1e-3};
  PricedClock clock({});
  EXPECT_THAT(Recommend(RunOf(Tiny(), parallel_), options_, clock),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace ulpscope
