// The rows of the table of errors.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "absl/strings/str_cat.h"
#include "explorer/diagnosis/diagnosis.h"
#include "explorer/diagnosis/results.h"
#include "gtest/gtest.h"
#include "model/trace/reference_trace.h"
#include "tests/explorer/diagnosis/changed_trace.h"
#include "tests/explorer/diagnosis/diagnosed_model.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double SumOfShares(const ErrorRow& row) {
  return row.shares->comparison + row.shares->rounding +
         row.shares->difference + row.shares->own + row.shares->inherited +
         row.shares->cancellation;
}

TEST(ErrorTableTest, RowsAreOfTheTraceAsItWasGiven) {
  const ReferenceTrace ours =
      TraceOf("synthetic:tiny", "f32", kTokens, TraceKind::kStatesFile, false);
  for (const bool normed : {false, true}) {
    const ReferenceTrace trace = TraceOf("synthetic:tiny", "torch-bf16",
                                         kTokens, TraceKind::kFolder, normed);
    const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
    ASSERT_EQ(d.rows.size(), kLayers);
    double before = kNaN;
    for (size_t n = 1; n <= kLayers; ++n) {
      SCOPED_TRACE(absl::StrCat(normed, " ", n));
      const ErrorRow& row = d.rows[n - 1];
      EXPECT_EQ(row.layer, n);
      double sum = 0, largest = 0;
      TracedTensor theirs = trace.states.at(n);
      const double* mine = ours.states.at(n).rows.data();
      size_t count = 0;
      ForEachValue(theirs, [&](double& x) {
        const double error = std::fabs(*mine++ - x);
        sum += error;
        largest = std::max(largest, error);
        ++count;
      });
      const double mean = sum / static_cast<double>(count);
      EXPECT_NEAR(row.error.mean_abs, mean, SumTolerance(mean));
      EXPECT_EQ(row.error.max_abs, largest);
      if (n == 1) {
        EXPECT_FALSE(row.growth.has_value());
      } else {
        EXPECT_NEAR(*row.growth, mean / before, SumTolerance(*row.growth));
      }
      before = mean;
      EXPECT_NEAR(SumOfShares(row), 1, 16 * 0x1p-53);
      // Only the last state is compared with what it is not.
      if (normed && n == kLayers) {
        EXPECT_GT(row.shares->comparison, 0.9);
        EXPECT_LT(row.error_aligned.rmse, row.error.rmse);
        EXPECT_NEAR(row.shares->comparison,
                    1 - std::pow(row.error_aligned.rmse / row.error.rmse, 2),
                    16 * 0x1p-53);
      } else {
        EXPECT_EQ(row.shares->comparison, 0);
        EXPECT_EQ(row.error_aligned.rmse, row.error.rmse);
      }
      EXPECT_EQ(row.shares->difference, 0);
      EXPECT_GT(row.shares->rounding, 0);
      // Nothing is inherited in the first layer: the embedding is exact.
      if (n == 1) {
        EXPECT_EQ(row.shares->inherited + row.shares->cancellation, 0);
      }
      // bf16's rounding, not ours.
      EXPECT_LT(row.shares->own, 0x1p-20);
    }
  }
}

// What is of the trace's own counts as a difference where it is one.
TEST(ErrorTableTest, RowsTellADifferenceFromRounding) {
  const ReferenceTrace trace = TraceOf("synthetic:tiny", "q_proj@3=bf16",
                                       kTokens, TraceKind::kOps, false);
  const Diagnosis d = DiagnosisOf("synthetic:tiny", trace);
  ASSERT_EQ(d.rows.size(), kLayers);
  for (const ErrorRow& row : d.rows) {
    SCOPED_TRACE(row.layer);
    if (!(row.error.rmse > 0)) continue;
    EXPECT_NEAR(SumOfShares(row), 1, 16 * 0x1p-53);
    EXPECT_EQ(row.shares->comparison, 0);
    EXPECT_EQ(row.shares->difference > 0, row.layer == 3);
  }
  EXPECT_GT(d.rows[2].shares->difference, 0.5);
  EXPECT_GT(d.rows[3].shares->inherited + d.rows[3].shares->cancellation, 0.5);
}

// A shifted list is compared wrongly wherever it has an entry.
TEST(ErrorTableTest, RowsOfAShiftedListAreAComparison) {
  const Diagnosis d =
      DiagnosisOf("synthetic:tiny", Shifted("torch-bf16", 1, false));
  ASSERT_EQ(d.rows.size(), kLayers);
  for (const ErrorRow& row : d.rows) {
    if (row.layer < kLayers) {
      EXPECT_GT(row.shares->comparison, 0.9) << row.layer;
    } else {
      EXPECT_EQ(row.shares->comparison, 0);
    }
    EXPECT_NEAR(SumOfShares(row), 1, 16 * 0x1p-53);
  }
}

}  // namespace
}  // namespace ulpscope
