// What a diagnosis comes to, in fields.

#include "explorer/report/diagnosis_figures.h"

#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "explorer/diagnosis/causes.h"
#include "explorer/diagnosis/results.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/measure/random.h"
#include "model/architecture/op.h"
#include "tests/explorer/diagnosis/made_diagnosis.h"

namespace ulpscope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class DiagnosisFiguresTest : public testing::Test {
 protected:
  static Outcome OutcomeOf(const Diagnosis& d) { return FiguresOf(d).outcome; }

  Random random_{5};
};

TEST_F(DiagnosisFiguresTest, OutcomesAreTold) {
  Diagnosis d = CleanDiagnosis(4, random_);
  EXPECT_EQ(OutcomeOf(d), Outcome::kNoDifference);
  // Of comparisons and rounding no program is accused.
  EXPECT_EQ(OutcomeOf(SeedDiagnosis(random_)), Outcome::kNoDifference);
  d.stopped_in = "the causes";
  EXPECT_EQ(OutcomeOf(d), Outcome::kStopped);
  MakeUnexplained(d, 3, Op::kRope);
  EXPECT_EQ(OutcomeOf(d), Outcome::kUnexplained);
  AddCause(d, MadeCause("x", 1, Op::kRope, random_));
  EXPECT_EQ(OutcomeOf(d), Outcome::kDiffers);
  d.causes[0].kind = CauseKind::kArithmetic;
  EXPECT_EQ(OutcomeOf(d), Outcome::kRoundsElsewhere);
  EXPECT_EQ(OutcomeOf(Diagnosis()), Outcome::kNothingMeasured);
}

TEST_F(DiagnosisFiguresTest, ConfirmationsThatFailAreNone) {
  DiagnosedCause cause = MadeCause("x", 2, Op::kRope, random_);
  cause.points = 3;
  const auto expect = [&](bool replayed, bool run, bool by_replay,
                          bool by_run) {
    const Confirmation of = ConfirmationOf(cause);
    std::vector<std::string> by, not_by;
    if (replayed) (by_replay ? by : not_by).push_back("replay");
    if (run) (by_run ? by : not_by).push_back("run");
    EXPECT_EQ(of.by, by);
    EXPECT_EQ(of.not_by, not_by);
  };
  expect(true, true, true, true);
  cause.run_with = 2 * *cause.run_without;
  expect(true, true, true, false);
  cause.replay_with = 2 * *cause.replay_without;
  expect(true, true, false, false);
  cause.run_with = *cause.run_without / 2;
  expect(true, true, false, true);
  // Less than rounding alone, unless it gives the trace's bits.
  cause.replay_without = 0.9;
  cause.replay_with = 0.1;
  expect(true, true, false, true);
  cause.identical_without = 0.5;
  cause.identical_with = 0.6;
  expect(true, true, true, true);
  cause.run_with.reset();
  expect(true, false, true, false);
  cause.run_without.reset();
  expect(true, false, true, false);
  cause.run_without = cause.run_with = kNaN;
  expect(true, false, true, false);
  // What makes a run finite confirms.
  cause.run_without = kInfinity;
  cause.run_with = 0.5;
  cause.points = 0;
  expect(false, true, false, true);
}

TEST_F(DiagnosisFiguresTest, PointsAreCounted) {
  Diagnosis d = CleanDiagnosis(4, random_);
  d.points[3].held_by = HeldBy::kF32;
  d.points[3].closest = "f32";
  AddCause(d, MadeCause("rope_neighbours", 2, Op::kRope, random_));
  MakeUnexplained(d, 4, Op::kInputNorm);
  d.points[5].not_reproduced = true;
  const DiagnosisFigures figures = FiguresOf(d);
  EXPECT_EQ(figures.differing, 4u);
  EXPECT_EQ(figures.still_differing, 1u);
  EXPECT_EQ(figures.not_reproduced, 1u);
  EXPECT_EQ(figures.not_judged, 0u);
  ASSERT_EQ(figures.held_by.size(), 2u);
  EXPECT_EQ(figures.held_by[0],
            std::make_pair(std::string("bf16"), d.points.size() - 1));
  EXPECT_EQ(figures.closest[1], std::make_pair(std::string("f32"), size_t{1}));
  EXPECT_EQ(figures.nearer_ours, d.states.size());
  EXPECT_EQ(figures.nearer_trace, 0u);
}

// Nothing is counted, averaged or ranked of what is no number.
TEST_F(DiagnosisFiguresTest, WhatIsNotFiniteSaysNothing) {
  Diagnosis d = CleanDiagnosis(4, random_);
  MakeNotFinite(d, 2, Op::kInputNorm);
  const DiagnosisFigures figures = FiguresOf(d);
  EXPECT_EQ(figures.outcome, Outcome::kUnexplained);
  EXPECT_EQ(figures.not_judged, d.trace_nonfinite->points - 1);
  EXPECT_EQ(figures.held_by[0].second, 4u);
  EXPECT_EQ(figures.closest[0].second, 4u);
  EXPECT_EQ(figures.nearer_ours, 2u);
  EXPECT_EQ(figures.states_not_finite, 3u);
  EXPECT_EQ(TightnessOf(d.points.back()), 0);
  EXPECT_EQ(StatusOf(d.points.back()), "not judged");
  for (const double value : {kNaN, kInfinity}) {
    StateDistance state;
    state.trace_to_oracle = value;
    EXPECT_EQ(NearerAt(state), 0);
    std::swap(state.trace_to_oracle, state.ours_to_oracle);
    EXPECT_EQ(NearerAt(state), 0);
  }
}

TEST_F(DiagnosisFiguresTest, GrowthsAreOfAllRowsOrNone) {
  Diagnosis d = CleanDiagnosis(4, random_);
  const auto& rows = d.rows;
  const DiagnosisFigures figures = FiguresOf(d);
  EXPECT_DOUBLE_EQ(*figures.average_growth,
                   (*rows[1].growth + *rows[2].growth + *rows[3].growth) / 3);
  EXPECT_DOUBLE_EQ(*figures.total_growth,
                   rows[3].error.mean_abs / rows[0].error.mean_abs);
  EXPECT_NEAR(
      *figures.mean_growth * *figures.mean_growth * *figures.mean_growth,
      *figures.total_growth, 0x1p-48 * *figures.total_growth);
  d.rows.resize(1);
  EXPECT_EQ(FiguresOf(d).total_growth, std::nullopt);
  EXPECT_EQ(FiguresOf(Diagnosis()).average_growth, std::nullopt);
}

}  // namespace
}  // namespace ulpscope
