#include "explorer/error/pooled.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "explorer/error/metrics.h"
#include "explorer/error/token_errors.h"
#include "explorer/error/windows.h"
#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/measure/random.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kWidth = 7;

Matrix<const double> Rows(const std::vector<double>& values, size_t first,
                          size_t rows) {
  return {values.data() + first * kWidth, rows, kWidth};
}

// Errors on some rows as those of a window.
TraceMetrics OfRows(const std::vector<double>& value,
                    const std::vector<double>& reference, size_t first,
                    size_t rows, const std::vector<double>& massive) {
  LayerMetrics row = MetricsOfReference(1, Rows(reference, first, rows),
                                        {1.0 + static_cast<double>(first), 2});
  RowErrors of_rows;
  row.error =
      Compare(Rows(value, first, rows), Rows(reference, first, rows), &of_rows);
  row.ordinary =
      PartOf(of_rows, kWidth,
             {massive.begin() + static_cast<ptrdiff_t>(first),
              massive.begin() + static_cast<ptrdiff_t>(first + rows)});
  TraceMetrics metrics;
  metrics.AddLayer(row);
  metrics.final_norm = row.error;
  metrics.logits = LogitMetrics{};
  return metrics;
}

// What is measured of all rows at once is what the parts come to.
TEST(PooledTest, PartsComeToTheWhole) {
  Random random(3);
  const size_t sizes[] = {4, 1, 6};
  const size_t total = 11;
  std::vector<double> reference(total * kWidth), value;
  for (double& x : reference) x = 10 * random.Gaussian();
  for (const double x : reference) value.push_back(x + random.Gaussian());
  std::vector<double> massive(total, 0);
  massive[0] = massive[4] = 1;  // the second window has no other position
  std::vector<TraceMetrics> parts;
  std::vector<Window> windows;
  size_t first = 0;
  for (const size_t size : sizes) {
    parts.push_back(OfRows(value, reference, first, size, massive));
    windows.push_back({"text", first, std::vector<int32_t>(size), 0, size});
    first += size;
  }
  EXPECT_FALSE(parts[1].layers[0].ordinary.has_value());
  const TraceMetrics whole = OfRows(value, reference, 0, total, massive);
  const TraceMetrics pooled = Pooled(parts, windows);
  const LayerMetrics &a = pooled.layers[0], &b = whole.layers[0];
  const auto near = [](double x, double y) {
    // Sums of 77 terms in another order, and a root of them squared.
    EXPECT_NEAR(x, y, 1e-14 * 77 * std::fabs(y));
  };
  near(a.error.mean_abs, b.error.mean_abs);
  near(a.error.mean_signed, b.error.mean_signed);
  near(a.error.rmse, b.error.rmse);
  near(a.error.rel_l2, b.error.rel_l2);
  near(a.error.cosine, b.error.cosine);
  EXPECT_EQ(a.error.max_abs, b.error.max_abs);
  EXPECT_EQ(a.error.max_row, b.error.max_row);
  EXPECT_EQ(a.error.max_col, b.error.max_col);
  EXPECT_EQ(a.error.count, b.error.count);
  EXPECT_FALSE(a.error.ulps.has_value());
  near(a.ordinary->rel_l2, b.ordinary->rel_l2);
  near(a.ordinary->rmse, b.ordinary->rmse);
  near(a.ordinary->mean_abs, b.ordinary->mean_abs);
  EXPECT_EQ(a.ordinary->count, 9 * kWidth);
  near(a.std, b.std);
  EXPECT_EQ(a.max_activation, b.max_activation);
  EXPECT_EQ(a.max_position, b.max_position);
  EXPECT_EQ(a.cancellation.attn, 6);  // the largest of a window
  near(pooled.final_norm->rmse, whole.final_norm->rmse);
}

TEST(PooledTest, OneWindowIsItself) {
  TraceMetrics metrics;
  metrics.layers.resize(2);
  metrics.layers[1].error.ulps = Quantiles{1, 2, 3};
  const TraceMetrics pooled = Pooled({metrics}, {Window{"a", 0, {1}, 0, 1}});
  ASSERT_EQ(pooled.layers.size(), 2u);
  EXPECT_EQ(pooled.layers[1].error.ulps->p99, 2);
}

TEST(PooledTest, LogitsAreMeansOfWhatIsScored) {
  std::vector<TraceMetrics> parts(2);
  parts[0].logits = LogitMetrics{1, 0.5, 4, 1, 0.5};
  parts[1].logits = LogitMetrics{3, 0.1, 2, 0, 1};
  const std::vector<Window> windows = {{"a", 0, {1, 2, 3}, 0, 1},
                                       {"a", 1, {2, 3, 4}, 0, 3}};
  const LogitMetrics logits = *Pooled(parts, windows).logits;
  EXPECT_EQ(logits.max_abs, 3);
  EXPECT_DOUBLE_EQ(logits.kl, 0.2);
  EXPECT_EQ(logits.kl_max, 4);
  EXPECT_EQ(logits.top1_agreement, 0.25);
  EXPECT_EQ(logits.top10_overlap, 0.875);
}

TEST(PooledTest, WhatAWindowLacksIsMissingAndNaNShows) {
  Random random(4);
  std::vector<double> reference(4 * kWidth, 1), value = reference;
  value[3] = kNaN;
  const std::vector<double> massive(4, 0);
  std::vector<TraceMetrics> parts = {OfRows(value, reference, 0, 2, massive),
                                     OfRows(value, reference, 2, 2, massive)};
  const std::vector<Window> windows = {{"a", 0, {1, 2}, 0, 2},
                                       {"a", 2, {3, 4}, 0, 2}};
  const TraceMetrics broken = Pooled(parts, windows);
  EXPECT_TRUE(std::isnan(broken.layers[0].error.rmse));
  EXPECT_TRUE(std::isnan(broken.layers[0].error.max_abs));
  EXPECT_EQ(broken.layers[0].error.max_col, 3u);
  parts[1].layers.clear();
  parts[1].final_norm.reset();
  parts[1].logits.reset();
  const TraceMetrics stopped = Pooled(parts, windows);
  EXPECT_TRUE(stopped.layers.empty());
  EXPECT_FALSE(stopped.final_norm.has_value());
  EXPECT_FALSE(stopped.complete());
}

}  // namespace
}  // namespace ulpscope
