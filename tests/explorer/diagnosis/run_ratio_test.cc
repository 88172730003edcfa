#include "explorer/diagnosis/run_ratio.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "explorer/diagnosis/points.h"
#include "explorer/diagnosis/replay.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {
namespace {

using ::testing::DoubleNear;

const std::vector<int32_t> kTokens = {6, 6, 21};

// Of synthetic:tiny's states and logits; every row of theirs has this norm.
constexpr double kNorm = 1;

class RunRatioTest : public testing::Test {
 protected:
  RunRatioTest()
      : trace_(TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kStatesFile,
                       false)),
        aligned_(Aligned(trace_, 8, 0, false)),
        oracle_(aligned_.points().size()),
        run_(aligned_.points().size()) {}

  // Every row of the trace and of the run so far from the oracle.
  void Set(double trace, double run) {
    for (size_t i = 0; i < oracle_.size(); ++i) {
      if (!IsHandedOn(aligned_.points()[i].op)) continue;
      Residual::Row row;
      row.theirs_squares = kNorm * kNorm;
      row.squares = trace * trace;
      oracle_[i].rows.assign(kTokens.size(), row);
      row.own_squares = run * run;
      run_[i].rows.assign(kTokens.size(), row);
    }
  }
  std::optional<RunRatio> Ratio() const {
    return RunRatioOf(aligned_, oracle_, run_);
  }

  const ReferenceTrace trace_;
  const AlignedTrace aligned_;
  std::vector<Residual> oracle_, run_;
};

TEST_F(RunRatioTest, ComparesDistancesFromTheOracle) {
  Set(3e-3, 1e-3);
  ASSERT_TRUE(Ratio().has_value());
  EXPECT_THAT(Ratio()->of_points, DoubleNear(3, 1e-3));
  EXPECT_THAT(Ratio()->of_rows, DoubleNear(3, 1e-3));
  EXPECT_THAT(Ratio()->largest_row, DoubleNear(3, 1e-3));
  EXPECT_FALSE(Ratio()->within_rounding());
  EXPECT_TRUE(Ratio()->plausible());
  Set(1.5e-3, 1e-3);
  EXPECT_TRUE(Ratio()->within_rounding());
  for (const double factor : {0.05, 20.0}) {
    Set(factor * 1e-3, 1e-3);
    EXPECT_FALSE(Ratio()->plausible()) << factor;
  }
  EXPECT_FALSE(Ratio()->within_rounding());
}

// A row that the arithmetic cannot have made so well.
TEST_F(RunRatioTest, OneRowThatIsTooGoodIsSeen) {
  Set(1e-3, 1e-3);
  EXPECT_TRUE(Ratio()->plausible());
  oracle_.back().rows[1].squares = 1e-5 * 1e-5;
  EXPECT_TRUE(Ratio()->within_rounding());
  EXPECT_FALSE(Ratio()->plausible());
}

// What keeping values in a format does is no error of whoever computed them.
TEST_F(RunRatioTest, IsNoFinerThanTheFormat) {
  Set(1e-12, 1e-14);
  EXPECT_TRUE(Ratio()->within_rounding());
  EXPECT_THAT(Ratio()->of_points, DoubleNear(1, 0.01));
}

// Nor is an error smaller than what keeping f32 does on average: of roundings
// that are uniform within half a spacing, the root mean square.
TEST_F(RunRatioTest, TheFormatsErrorIsThatOfARounding) {
  Set(0x1p-24 * kNorm, 0);
  EXPECT_THAT(Ratio()->of_points, DoubleNear(2, 1e-12));
}

// A row that has nearly all of a point hides nothing in the others.
TEST_F(RunRatioTest, RowsCountAlike) {
  Set(5e-3, 1e-3);
  for (size_t i = 0; i < oracle_.size(); ++i) {
    if (oracle_[i].rows.empty()) continue;
    oracle_[i].rows[0].squares = run_[i].rows[0].own_squares = 1;
  }
  EXPECT_LT(Ratio()->of_points, 1.1);
  EXPECT_LE(Ratio()->largest_row, 8);
  EXPECT_THAT(Ratio()->of_rows, DoubleNear(std::pow(5, 2.0 / 3), 1e-3));
  EXPECT_FALSE(Ratio()->within_rounding());
}

TEST_F(RunRatioTest, OneWrongRowIsSeen) {
  Set(1e-3, 1e-3);
  oracle_.back().rows[1].squares = 1e-2 * 1e-2;
  EXPECT_LT(Ratio()->of_rows, 2);
  EXPECT_THAT(Ratio()->largest_row, DoubleNear(10, 0.01));
  EXPECT_FALSE(Ratio()->within_rounding());
}

TEST_F(RunRatioTest, WhatIsNotFiniteOnOneSideIsFarther) {
  Set(1e-3, 1e-3);
  oracle_.back().rows[0].nonfinite = 1;
  EXPECT_FALSE(Ratio()->within_rounding());
  // On both it says nothing.
  run_.back().rows[0].own_nonfinite = 1;
  EXPECT_TRUE(Ratio()->within_rounding());
  // A run that is not cannot have made what is.
  oracle_.back().rows[0].nonfinite = 0;
  EXPECT_TRUE(Ratio()->within_rounding());
  EXPECT_FALSE(Ratio()->plausible());
}

TEST_F(RunRatioTest, NothingHandedOnHasNone) {
  EXPECT_FALSE(Ratio().has_value());
}

}  // namespace
}  // namespace ulpscope
