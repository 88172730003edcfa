#include "explorer/attribution/explain.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "explorer/attribution/upgrade.h"
#include "explorer/error/budget.h"
#include "explorer/sweep/axes.h"
#include "explorer/sweep/ranking.h"
#include "explorer/sweep/sweep.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "model/checkpoint/weights.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;

const Weights& Tiny() { return LoadedOnce("synthetic:tiny"); }

ExplainOptions Options() {
  ExplainOptions options;
  options.tokens = {3, 14, 15};
  options.budget = ParseBudget("rel_l2<=1e-4").value();
  options.strategies =
      StrategiesOf(ParseAxes(kDefaultAxes, Tiny().layers.size()).value());
  options.timing.seconds = 0;
  return options;
}

Plan Parsed(const std::string& text) {
  return Plan::Parse(text, Tiny().layers.size()).value();
}

TEST(ExplainTest, HasEveryPart) {
  Parallel parallel;
  ExplainOptions options = Options();
  options.timing.seconds = 60;
  options.timing.max_rounds = 1;
  options.timing.prompt = options.tokens;
  const auto explanation =
      Explain(RunOf(Tiny(), parallel), Parsed("down_proj@2=bf16"), options);
  ASSERT_THAT(explanation, IsOk());
  EXPECT_EQ(explanation->stopped_in, "");
  EXPECT_EQ(explanation->phenomena.positions, 3u);
  EXPECT_EQ(explanation->attribution.layers.size(), Tiny().layers.size() + 1);
  ASSERT_TRUE(explanation->verdict.source.has_value());
  ASSERT_TRUE(explanation->repair.has_value());
  EXPECT_TRUE(explanation->repair->reached);
  EXPECT_TRUE(explanation->repair->cost.has_value());
}

// Whenever it is stopped it says in what, and the later, the more there is.
TEST(ExplainTest, CanBeStoppedAnywhere) {
  Parallel parallel;
  ExplainOptions options = Options();
  TestMonitor counts;
  const Plan plan = Parsed("torch-bf16");
  const auto whole = Explain(RunOf(Tiny(), parallel, counts), plan, options);
  ASSERT_THAT(whole, IsOk());
  EXPECT_EQ(whole->stopped_in, "");
  const size_t all = counts.asked();
  ASSERT_GT(all, 100u);
  std::set<std::string> parts;
  for (size_t i = 0; i < 40; ++i) {
    const size_t stop_at = all * i / 40;
    TestMonitor stops(stop_at);
    const auto stopped = Explain(RunOf(Tiny(), parallel, stops), plan, options);
    ASSERT_THAT(stopped, IsOk()) << stop_at;
    EXPECT_NE(stopped->stopped_in, "") << stop_at;
    parts.insert(stopped->stopped_in.substr(0, stopped->stopped_in.find(',')));
  }
  EXPECT_GE(parts.size(), 4u);
}

TEST(ExplainTest, TokensThatTheModelDoesNotTakeAreAnError) {
  Parallel parallel;
  ExplainOptions options = Options();
  options.tokens = {static_cast<int32_t>(Tiny().config.vocab_size)};
  EXPECT_THAT(Explain(RunOf(Tiny(), parallel), Parsed("bf16"), options),
              StatusIs(absl::StatusCode::kInvalidArgument));
  options.tokens = {};
  EXPECT_THAT(Explain(RunOf(Tiny(), parallel), Parsed("bf16"), options),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(WorstPlanTest, IsTheOneThatASweepRanksLast) {
  Parallel parallel;
  SweepOptions options;
  options.axes =
      ParseAxes("matmul=f32,bf16,kahan;rmsnorm=f32,bf16", Tiny().layers.size())
          .value();
  options.token = 3;
  options.prompt = {3, 14, 15};
  options.timing_seconds = 0;
  options.metric = &RankMetrics().front();
  const auto worst = WorstPlan(RunOf(Tiny(), parallel), options);
  ASSERT_THAT(worst, IsOk());
  const auto sweep = RunSweep(RunOf(Tiny(), parallel), options);
  ASSERT_THAT(sweep, IsOk());
  EXPECT_EQ(worst->Text(), sweep->plans.back().plan);
  TestMonitor stops(0);
  EXPECT_THAT(WorstPlan(RunOf(Tiny(), parallel, stops), options),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace ulpscope
