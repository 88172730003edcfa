#include "explorer/recommend/clock.h"

#include <cmath>
#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/base/parallel.h"
#include "model/architecture/plan.h"
#include "tests/explorer/error/test_monitor.h"
#include "tests/model/checkpoint/loaded_model.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::SizeIs;

TEST(ClockTest, IntervalsAreStudents) {
  // Ratios exp(0.1 +- 0.02): s = 0.02 sqrt(10 / 9), t of 9 degrees = 2.262157.
  std::vector<double> logs, base;
  for (int i = 0; i < 10; ++i) {
    base.push_back(i);
    logs.push_back(i + 0.1 + (i % 2 == 0 ? 0.02 : -0.02));
  }
  const TimeRatio ratio = RatioOf(logs, base);
  EXPECT_NEAR(std::log(ratio.ratio), 0.1, 1e-12);
  const double reach = 2.262157 * 0.02 * std::sqrt(10.0 / 9) / std::sqrt(10.0);
  ASSERT_TRUE(ratio.low && ratio.high);
  EXPECT_NEAR(std::log(*ratio.low), 0.1 - reach, 1e-7);
  EXPECT_NEAR(std::log(*ratio.high), 0.1 + reach, 1e-7);
  // One degree: t = 12.7062.
  const TimeRatio two = RatioOf({0.0, 0.2}, {0.0, 0.0});
  EXPECT_NEAR(std::log(*two.high), 0.1 + 12.7062 * 0.1, 1e-4);
  EXPECT_FALSE(RatioOf({0.5}, {0.0}).low.has_value());
}

// Of rounds of one second a run.
class Seconds : public PlanClock {
 public:
  explicit Seconds(size_t stop_in = SIZE_MAX) : stop_in_(stop_in) {}
  absl::StatusOr<TimedRun> Time(absl::Span<const Plan> /*plans*/, size_t i,
                                size_t round) override {
    if (round == stop_in_ && i == 1) return absl::CancelledError("");
    return TimedRun{{{2.0}, {0.5, 0.5}}, 1};
  }

 private:
  const size_t stop_in_;
};

TEST(ClockTest, RoundsEndByTimeOrNumber) {
  TestMonitor monitor;
  const std::vector<Plan> plans = {Plan(1), Plan(1)};
  const auto rounds = [&](const RoundLimits& limits, size_t stop_in) {
    Seconds clock(stop_in);
    const auto timed =
        TimeInRounds(clock, monitor, "t", plans, TimedPhase::kDecode, limits);
    EXPECT_THAT(timed, IsOk());
    return timed.ok() ? timed->rounds() : 0;
  };
  EXPECT_EQ(rounds({2, 9, 0}, SIZE_MAX), 2);
  EXPECT_EQ(rounds({2, 9, 5}, SIZE_MAX), 3);  // two seconds a round
  EXPECT_EQ(rounds({2, 9, 1000}, SIZE_MAX), 9);
  EXPECT_EQ(rounds({2, 9, 1000}, 4), 4);
  Seconds stopped(1);
  EXPECT_THAT(TimeInRounds(stopped, monitor, "t", plans, TimedPhase::kDecode,
                           {2, 9, 1000}),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST(ClockTest, ThePhaseChoosesTheSeconds) {
  TestMonitor monitor;
  Seconds clock;
  const std::vector<Plan> plans = {Plan(1)};
  const auto decode =
      TimeInRounds(clock, monitor, "t", plans, TimedPhase::kDecode, {2, 2, 0});
  const auto prefill =
      TimeInRounds(clock, monitor, "t", plans, TimedPhase::kPrefill, {2, 2, 0});
  ASSERT_THAT(decode, IsOk());
  ASSERT_THAT(prefill, IsOk());
  EXPECT_NEAR(decode->Seconds(0), 0.5, 1e-12);
  EXPECT_NEAR(prefill->Seconds(0), 2, 1e-12);
  EXPECT_THAT(decode->timings[0].decode, SizeIs(4));
}

TEST(ClockTest, TheMachinesTimesAreWhole) {
  Parallel parallel;
  const Weights& weights = LoadedOnce("synthetic:tiny");
  MachineClock clock(RunOf(weights, parallel), {97, 3, 5}, 2);
  const std::vector<Plan> plans = {Plan(weights.layers.size())};
  const auto timed = clock.Time(plans, 0, 0);
  ASSERT_THAT(timed, IsOk());
  EXPECT_TRUE(IsWhole(*timed, 2));

  TestMonitor stopped(size_t{0});
  MachineClock never(RunOf(weights, parallel, stopped), {97, 3, 5}, 2);
  EXPECT_THAT(never.Time(plans, 0, 0), StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace ulpscope
