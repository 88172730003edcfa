#include "explorer/recommend/finalists.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <vector>

#include "explorer/recommend/clock.h"
#include "explorer/recommend/plan_search.h"
#include "explorer/recommend/recommendation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/architecture/plan.h"

namespace ulpscope {
namespace {

using ::testing::Contains;
using ::testing::SizeIs;

// A finalist, and its seconds in each of four rounds.
struct Timed {
  double error;
  bool confirmed;
  std::vector<double> seconds;
};

// Within a budget of 1, the first as f32.
Recommendation Judged(const std::vector<Timed>& finalists) {
  Recommendation result;
  TimedPlans timed;
  for (const Timed& one : finalists) {
    Finalist& finalist = result.finalists.emplace_back();
    finalist.plan = Plan(1);
    finalist.error = one.error;
    finalist.keeps = one.error <= 1;
    finalist.confirmed = one.confirmed;
    finalist.other_error = one.confirmed ? one.error : 2;
    std::vector<double>& logs = timed.logs.emplace_back();
    for (const double seconds : one.seconds) logs.push_back(std::log(seconds));
    timed.timings.push_back({one.seconds, one.seconds});
  }
  result.f32 = 0;
  JudgeFinalists(timed, 1, result);
  return result;
}

double ChosenError(const Recommendation& result) {
  return result.finalists[*result.chosen].error;
}

TEST(FinalistsTest, TheFastestThatHoldsOnBothTextsIsChosen) {
  const Recommendation result = Judged({{0.1, true, {4, 4.1, 4, 4.1}},
                                        {0.9, true, {2, 2.1, 2, 2.1}},
                                        {0.8, false, {1, 1.1, 1, 1.1}},
                                        {1.5, false, {0.5, 0.5, 0.5, 0.5}}});
  EXPECT_EQ(result.verdict, RecommendVerdict::kRecommended);
  EXPECT_EQ(ChosenError(result), 0.9);
  EXPECT_EQ(result.failed_confirmations, 1);  // of one that keeps it at all
  EXPECT_EQ(result.finalists[0].error, 1.5);  // the fastest first
  EXPECT_EQ(result.finalists[*result.f32].error, 0.1);
}

TEST(FinalistsTest, OfWhatRoundsDoNotTellApartTheLeastErrorIsChosen) {
  const Recommendation result = Judged({{0.1, true, {9, 9.1, 9, 9.1}},
                                        {0.9, true, {2, 2.2, 2.1, 2}},
                                        {0.3, true, {2.1, 2, 2.2, 2.1}},
                                        {0.2, true, {2.9, 3, 3.1, 3}}});
  EXPECT_EQ(ChosenError(result), 0.3);
  size_t tied = 0;
  for (const Finalist& finalist : result.finalists) tied += finalist.tied;
  EXPECT_EQ(tied, 2);
}

TEST(FinalistsTest, OfWhatNothingTellsApartF32IsChosen) {
  const Recommendation result = Judged({{0.1, true, {2.1, 2, 2.2, 2.1}},
                                        {0.1, true, {2, 2.2, 2.1, 2}},
                                        {0.1, true, {2.2, 2.1, 2.2, 2.2}}});
  EXPECT_EQ(result.chosen, result.f32);
  EXPECT_EQ(result.f32, 1);  // of the times it is not the first
}

TEST(FinalistsTest, WithoutAnyThatHoldsTheVerdictSaysWhy) {
  const Recommendation refused =
      Judged({{0.5, false, {1, 1, 1, 1}}, {3, false, {2, 2, 2, 2}}});
  EXPECT_EQ(refused.verdict, RecommendVerdict::kNotConfirmed);
  EXPECT_EQ(ChosenError(refused), 0.5);
  const Recommendation none =
      Judged({{5, false, {1, 1, 1, 1}}, {3, false, {2, 2, 2, 2}}});
  EXPECT_EQ(none.verdict, RecommendVerdict::kNotMet);
  EXPECT_EQ(ChosenError(none), 3);
}

TEST(FinalistsTest, TheFrontHasWhatNothingBeats) {
  const Recommendation result = Judged({{0.1, true, {4, 4, 4, 4}},
                                        {0.5, true, {2, 2, 2, 2}},
                                        {0.6, true, {3, 3, 3, 3}},
                                        {0.9, true, {1, 1, 1, 1}}});
  for (const Finalist& finalist : result.finalists) {
    EXPECT_EQ(finalist.pareto, finalist.error != 0.6) << finalist.error;
  }
}

TEST(FinalistsTest, FinalistsHaveSlackAndTheEndsOfTheFront) {
  std::vector<SearchedPlan> plans;
  for (size_t i = 0; i < 100; ++i) {
    // The faster the less accurate.
    const double x = static_cast<double>(i);
    plans.push_back({Plan(1), 100 - x, 0.02 * (x + 1)});
  }
  const std::vector<size_t> chosen = FinalistsOf(plans, {BudgetMetric::kKl, 1});
  EXPECT_EQ(chosen[0], 49);           // the fastest that keeps it
  EXPECT_THAT(chosen, Contains(24));  // a half
  EXPECT_THAT(chosen, Contains(4));   // a tenth
  EXPECT_THAT(chosen, Contains(0));   // the least error
  EXPECT_THAT(chosen, Contains(99));  // the fastest of all
  EXPECT_LE(chosen.size(), 12);
  EXPECT_THAT(FinalistsOf({}, {BudgetMetric::kKl, 1}), SizeIs(0));
}

}  // namespace
}  // namespace ulpscope
