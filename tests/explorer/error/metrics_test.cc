#include "explorer/error/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/base/matrix.h"
#include "kernels/base/parallel.h"
#include "kernels/measure/random.h"
#include "model/trace/kept_states.h"
#include "tests/explorer/error/test_monitor.h"

namespace ulpscope {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

Matrix<const double> View(const std::vector<double>& values, size_t rows) {
  return {values.data(), rows, values.size() / rows};
}

std::vector<double> Gaussians(size_t n, Random& random) {
  std::vector<double> values(n);
  for (double& v : values) v = random.Gaussian();
  return values;
}

LogitMetrics LogitsOf(Matrix<const double> value,
                      Matrix<const double> reference) {
  Parallel parallel;
  TestMonitor monitor;
  const auto metrics = CompareLogits(value, reference, monitor, parallel);
  EXPECT_TRUE(metrics.has_value());
  return metrics.value_or(LogitMetrics());
}

TEST(CompareTest, AgreesWithFiguresWorkedByHand) {
  const std::vector<double> reference = {1, -2, 2, 0, 4, -4};
  const std::vector<double> value = {1.5, -2, 1, 0, 4, -2};
  const ErrorMetrics m = Compare(View(value, 2), View(reference, 2));
  // Errors 0.5, 0, -1, 0, 0, 2.
  EXPECT_DOUBLE_EQ(m.mean_abs, 3.5 / 6);
  EXPECT_DOUBLE_EQ(m.mean_signed, 1.5 / 6);
  EXPECT_DOUBLE_EQ(m.rmse, std::sqrt(5.25 / 6));
  EXPECT_EQ(m.max_abs, 2);
  EXPECT_EQ(m.max_row, 1u);
  EXPECT_EQ(m.max_col, 2u);
  EXPECT_DOUBLE_EQ(m.rel_l2, std::sqrt(5.25 / 41));
  // Products 1.5, 4, 2, 0, 16, 8; squares of the value 27.25.
  EXPECT_DOUBLE_EQ(m.cosine, 31.5 / std::sqrt(27.25 * 41));
  // f32 has 2^23 numbers in [1, 2), 2^22 per unit in [2, 4), 2^21 in [4, 8).
  EXPECT_EQ(m.ulps->max, 0x1p22);
  EXPECT_EQ(m.ulps->p99, 0x1p22);
  EXPECT_EQ(m.ulps->p50, 0);
}

TEST(CompareTest, EqualValuesHaveNoError) {
  Random random(1);
  const std::vector<double> x = Gaussians(100, random);
  const ErrorMetrics m = Compare(View(x, 4), View(x, 4));
  EXPECT_EQ(m.mean_abs, 0);
  EXPECT_EQ(m.rmse, 0);
  EXPECT_EQ(m.max_abs, 0);
  EXPECT_EQ(m.rel_l2, 0);
  EXPECT_EQ(m.cosine, 1);
  EXPECT_EQ(m.ulps->max, 0);
}

TEST(CompareTest, LargestErrorIsTheFirstOfEqualOnes) {
  const std::vector<double> zero(6, 0), value = {1, -3, 3, 3, -3, 0};
  const ErrorMetrics m = Compare(View(value, 3), View(zero, 3));
  EXPECT_EQ(m.max_abs, 3);
  EXPECT_EQ(m.max_row, 0u);
  EXPECT_EQ(m.max_col, 1u);
}

TEST(CompareTest, StridedRowsAreReadAsRows) {
  const std::vector<double> padded = {1, 2, kNaN, 3, 4, kNaN};
  const std::vector<double> reference = {1, 2, 3, 5};
  const ErrorMetrics m = Compare({padded.data(), 2, 2, 3}, View(reference, 2));
  EXPECT_EQ(m.mean_abs, 0.25);
  EXPECT_EQ(m.max_row, 1u);
  EXPECT_EQ(m.max_col, 1u);
}

TEST(CompareTest, ErrorAgainstNothingIsInfinitelyLarge) {
  const std::vector<double> zero(3, 0), value = {0, 1e-30, 0};
  const ErrorMetrics m = Compare(View(value, 1), View(zero, 1));
  EXPECT_EQ(m.rel_l2, kInf);
  EXPECT_TRUE(std::isnan(m.cosine));
  EXPECT_EQ(Compare(View(zero, 1), View(zero, 1)).rel_l2, 0);
}

// |v - r|^2 = |v|^2 + |r|^2 - 2 |v| |r| cosine, with |v - r| both as rmse and
// as rel_l2. Each of the three norms is a sum of n positive terms, so each side
// is within gamma_(n + 5) of |v|^2 + |r|^2 + ...: at most 6 n u of it.
TEST(CompareTest, FiguresFulfilTheLawOfCosines) {
  Random random(2);
  const size_t n = 500;
  for (int i = 0; i < 20; ++i) {
    const std::vector<double> reference = Gaussians(n, random);
    std::vector<double> value = Gaussians(n, random);
    double v2 = 0, r2 = 0;
    for (size_t k = 0; k < n; ++k) {
      value[k] = reference[k] + value[k] * std::pow(0.5, i);
      v2 += value[k] * value[k];
      r2 += reference[k] * reference[k];
    }
    const ErrorMetrics m = Compare(View(value, 5), View(reference, 5));
    const double law = v2 + r2 - 2 * std::sqrt(v2 * r2) * m.cosine;
    const double tolerance = 6 * n * 0x1p-53 * (v2 + r2);
    EXPECT_NEAR(m.rmse * m.rmse * n, law, tolerance);
    EXPECT_NEAR(m.rel_l2 * m.rel_l2 * r2, law, tolerance);
    EXPECT_LE(m.mean_abs, m.rmse);
    EXPECT_LE(m.rmse, m.max_abs);
  }
}

TEST(CompareTest, NaNAnywhereShowsInEveryFigure) {
  for (const size_t at : {size_t{0}, size_t{3}, size_t{7}}) {
    for (const bool in_value : {true, false}) {
      std::vector<double> value(8, 1), reference(8, 2);
      (in_value ? value : reference)[at] = kNaN;
      const ErrorMetrics m = Compare(View(value, 2), View(reference, 2));
      for (const double x :
           {m.mean_abs, m.rmse, m.max_abs, m.mean_signed, m.rel_l2, m.cosine}) {
        EXPECT_TRUE(std::isnan(x)) << at;
      }
      EXPECT_EQ(m.max_row * 4 + m.max_col, at);
      EXPECT_EQ(m.ulps->max, kInf);
    }
  }
  const std::vector<double> both = {kNaN, kNaN};
  EXPECT_EQ(Compare(View(both, 1), View(both, 1)).ulps->p50, kInf);
}

TEST(CompareTest, InfinityShows) {
  const std::vector<double> value = {1, kInf, 1}, reference = {1, 1, 1};
  const ErrorMetrics m = Compare(View(value, 1), View(reference, 1));
  EXPECT_EQ(m.mean_abs, kInf);
  EXPECT_EQ(m.rmse, kInf);
  EXPECT_EQ(m.max_abs, kInf);
  EXPECT_EQ(m.max_col, 1u);
  EXPECT_EQ(m.rel_l2, kInf);
  EXPECT_EQ(m.ulps->max, kInf);
  EXPECT_TRUE(std::isnan(Compare(View(value, 1), View(value, 1)).max_abs));
}

// KL of distributions whose logits are log p + a constant.
TEST(CompareLogitsTest, KlIsThatOfTheDistributions) {
  const std::vector<double> p = {0.5, 0.25, 0.25}, q = {0.25, 0.5, 0.25};
  std::vector<double> reference, value;
  for (size_t i = 0; i < p.size(); ++i) {
    reference.push_back(std::log(p[i]) + 3);
    value.push_back(std::log(q[i]) - 700);  // exp would underflow
  }
  const LogitMetrics m = LogitsOf(View(value, 1), View(reference, 1));
  // 0.5 log 2 + 0.25 log 0.5. The logits near 700 are rounded to 2^-44.
  EXPECT_NEAR(m.kl, 0.25 * std::log(2), 0x1p-43);
  EXPECT_EQ(m.kl, m.kl_max);
  EXPECT_EQ(m.top1_agreement, 0);
  EXPECT_EQ(m.top10_overlap, 1);  // the ten likeliest of three
}

TEST(CompareLogitsTest, RowsAreAveraged) {
  // KL(p || q) = log 2 - H for p = (1, 0) nearly: the first row; none in the
  // second, which is the same up to a constant.
  const std::vector<double> reference = {40, 0, 1, 2};
  const std::vector<double> value = {0, 0, 6, 7};
  const LogitMetrics m = LogitsOf(View(value, 2), View(reference, 2));
  // p_1 = e^-40 changes it by 40 e^-40 < 2e-16.
  EXPECT_NEAR(m.kl_max, std::log(2), 1e-15);
  EXPECT_NEAR(m.kl, std::log(2) / 2, 1e-15);
  EXPECT_EQ(m.max_abs, 40);
  EXPECT_EQ(m.top1_agreement, 1);  // of equal logits the first
}

TEST(CompareLogitsTest, TiesGoToTheSmallerToken) {
  std::vector<double> reference(12, 0), value(12, 0);
  EXPECT_EQ(LogitsOf(View(value, 1), View(reference, 1)).top1_agreement, 1);
  value[11] = 1e-300;
  const LogitMetrics m = LogitsOf(View(value, 1), View(reference, 1));
  EXPECT_EQ(m.top1_agreement, 0);
  // Tokens 11, 0 ... 8 against 0 ... 9.
  EXPECT_EQ(m.top10_overlap, 0.9);
}

TEST(CompareLogitsTest, EqualLogitsAgreeEntirely) {
  Random random(3);
  const std::vector<double> x = Gaussians(300, random);
  const LogitMetrics m = LogitsOf(View(x, 3), View(x, 3));
  EXPECT_EQ(m.max_abs, 0);
  EXPECT_EQ(m.kl, 0);
  EXPECT_EQ(m.top1_agreement, 1);
  EXPECT_EQ(m.top10_overlap, 1);
}

TEST(CompareLogitsTest, NaNShowsAndAgreesWithNothing) {
  const std::vector<double> reference = {3, 2, 1, 0, 3, 2, 1, 0};
  for (size_t at = 0; at < reference.size(); ++at) {
    std::vector<double> value = reference;
    value[at] = kNaN;
    const LogitMetrics m = LogitsOf(View(value, 2), View(reference, 2));
    EXPECT_TRUE(std::isnan(m.max_abs)) << at;
    EXPECT_TRUE(std::isnan(m.kl)) << at;
    EXPECT_TRUE(std::isnan(m.kl_max)) << at;
    EXPECT_EQ(m.top1_agreement, 0.5) << at;  // of the other row
    EXPECT_EQ(m.top10_overlap, 7.0 / 8) << at;
  }
  const std::vector<double> broken(8, kNaN);
  const LogitMetrics m = LogitsOf(View(broken, 2), View(reference, 2));
  EXPECT_EQ(m.top1_agreement, 0);
  EXPECT_EQ(m.top10_overlap, 0);
  std::vector<double> infinite = reference;
  infinite[1] = kInf;
  const LogitMetrics inf = LogitsOf(View(infinite, 2), View(reference, 2));
  EXPECT_EQ(inf.max_abs, kInf);
  EXPECT_TRUE(std::isnan(inf.kl));
}

// 130 positions are more than are compared at a time.
TEST(CompareLogitsTest, DoesNotDependOnTheThreads) {
  Random random(5);
  const std::vector<double> value = Gaussians(130 * 20, random);
  const std::vector<double> reference = Gaussians(130 * 20, random);
  const LogitMetrics one = LogitsOf(View(value, 130), View(reference, 130));
  EXPECT_GT(one.kl, 0);
  for (const size_t threads : {2, 3}) {
    Parallel parallel(threads);
    TestMonitor monitor;
    const auto m = CompareLogits(View(value, 130), View(reference, 130),
                                 monitor, parallel);
    ASSERT_TRUE(m.has_value());
    EXPECT_EQ(m->kl, one.kl);
    EXPECT_EQ(m->kl_max, one.kl_max);
    EXPECT_EQ(m->max_abs, one.max_abs);
    EXPECT_EQ(m->top1_agreement, one.top1_agreement);
    EXPECT_EQ(m->top10_overlap, one.top10_overlap);
  }
}

TEST(CompareLogitsTest, StopsOnTheWay) {
  Random random(6);
  const std::vector<double> x = Gaussians(130 * 2, random);
  Parallel parallel;
  size_t asked = 0;
  const auto compare = [&](size_t times) {
    TestMonitor monitor(times);
    const auto metrics =
        CompareLogits(View(x, 130), View(x, 130), monitor, parallel);
    asked = monitor.asked();
    return metrics;
  };
  EXPECT_FALSE(compare(0).has_value());
  EXPECT_FALSE(compare(1).has_value());
  EXPECT_TRUE(compare(1000).has_value());
  EXPECT_GT(asked, 1u);
}

LayerMetrics RowOf(size_t layer, double mean_abs) {
  LayerMetrics row;
  row.layer = layer;
  row.error.mean_abs = mean_abs;
  return row;
}

// One row after the other.
TraceMetrics Grown(const std::vector<double>& mean_abs) {
  TraceMetrics metrics;
  for (size_t i = 0; i < mean_abs.size(); ++i) {
    metrics.AddLayer(RowOf(i + 1, mean_abs[i]));
  }
  return metrics;
}

TEST(TraceMetricsTest, GrowthIsTheRatioToTheLayerBefore) {
  const TraceMetrics m = Grown({0.5, 2, 4});
  ASSERT_EQ(m.layers.size(), 3u);
  EXPECT_EQ(m.layers[0].layer, 1u);
  EXPECT_FALSE((m.layers[0].growth).has_value());
  EXPECT_EQ(m.layers[1].growth, 4);
  EXPECT_EQ(m.layers[2].growth, 2);
  EXPECT_DOUBLE_EQ(*m.mean_growth, std::sqrt(8));
  EXPECT_EQ(&m.final_hidden(), &m.layers[2].error);
}

TEST(TraceMetricsTest, NoGrowthAfterNoError) {
  const TraceMetrics m = Grown({0, 1, 0});
  EXPECT_FALSE((m.layers[1].growth).has_value());
  EXPECT_EQ(m.layers[2].growth, 0);
  EXPECT_FALSE((m.mean_growth).has_value());
}

TEST(TraceMetricsTest, LessThanTwoLayersHaveNoGrowth) {
  const TraceMetrics m = Grown({1});
  EXPECT_FALSE((m.layers[0].growth).has_value());
  EXPECT_FALSE((m.mean_growth).has_value());
  EXPECT_FALSE((TraceMetrics().mean_growth).has_value());
}

TEST(TraceMetricsTest, BrokenStreamShows) {
  const TraceMetrics m = Grown({0.5, kNaN, 1});
  EXPECT_TRUE(std::isnan(m.layers[1].growth.value()));
  EXPECT_TRUE(std::isnan(m.layers[2].growth.value()));
  EXPECT_TRUE(std::isnan(Grown({0.5, kNaN}).mean_growth.value()));
}

TEST(MetricsOfReferenceTest, AreTheReferencesOwn) {
  const LayerMetrics m = MetricsOfReference(
      7, View(std::vector<double>{2, -6, 1, 3}, 2), Cancellation{1.5, 2.5});
  EXPECT_EQ(m.layer, 7u);
  EXPECT_EQ(m.max_activation, -6);
  EXPECT_EQ(m.max_channel, 1u);
  EXPECT_EQ(m.max_position, 0u);
  EXPECT_DOUBLE_EQ(m.std, std::sqrt(50.0 / 4));  // the mean is 0
  EXPECT_EQ(m.cancellation.attn, 1.5);
  EXPECT_EQ(m.cancellation.mlp, 2.5);
}

TEST(MetricsOfReferenceTest, BrokenReferenceShows) {
  const LayerMetrics m =
      MetricsOfReference(1, View(std::vector<double>{1, kNaN}, 1), {});
  EXPECT_TRUE(std::isnan(m.max_activation));
  EXPECT_EQ(m.max_channel, 1u);
  EXPECT_TRUE(std::isnan(m.std));
}

// The seed report's table: mean absolute error, growth rate, status.
struct SeedRow {
  double mean_abs;
  double growth;
  const char* status;
};
constexpr const char kExcellent[] = "[OK] Excellent";
constexpr const char kGood[] = "[OK] Good";
constexpr const char kAcceptable[] = "[WARN] Acceptable";
constexpr const char kDegraded[] = "[WARN] Degraded";
constexpr const char kPoor[] = "[ERR] Poor";
constexpr SeedRow kSeedRows[] = {
    {0.000801, 1.000, kExcellent},   {0.001342, 1.675, kGood},
    {0.020137, 15.010, kAcceptable}, {0.017787, 0.883, kAcceptable},
    {0.020748, 1.166, kAcceptable},  {0.024084, 1.161, kAcceptable},
    {0.026283, 1.091, kAcceptable},  {0.028177, 1.072, kAcceptable},
    {0.030309, 1.076, kAcceptable},  {0.031440, 1.037, kAcceptable},
    {0.032314, 1.028, kAcceptable},  {0.036143, 1.119, kAcceptable},
    {0.038248, 1.058, kAcceptable},  {0.038789, 1.014, kAcceptable},
    {0.041119, 1.060, kAcceptable},  {0.043606, 1.060, kAcceptable},
    {0.044647, 1.024, kAcceptable},  {0.044838, 1.004, kAcceptable},
    {0.044467, 0.992, kAcceptable},  {0.045242, 1.017, kAcceptable},
    {0.050484, 1.116, kAcceptable},  {0.044253, 0.877, kAcceptable},
    {0.168717, 3.813, kDegraded},    {3.405869, 20.187, kPoor}};

TEST(StatusOfTest, IsTheSeedReportsVerdict) {
  EXPECT_EQ(std::size(kSeedRows), 24u);
  for (const SeedRow& row : kSeedRows) {
    EXPECT_EQ(StatusOf(row.mean_abs), row.status) << row.mean_abs;
  }
}

TEST(StatusOfTest, StepsAtEveryDecade) {
  EXPECT_EQ(StatusOf(0), kExcellent);
  EXPECT_EQ(StatusOf(1e-3), kGood);
  EXPECT_EQ(StatusOf(1e-2), kAcceptable);
  EXPECT_EQ(StatusOf(1e-1), kDegraded);
  EXPECT_EQ(StatusOf(std::nextafter(1.0, 0.0)), kDegraded);
  EXPECT_EQ(StatusOf(1), kPoor);
  EXPECT_EQ(StatusOf(kInf), kPoor);
  EXPECT_EQ(StatusOf(kNaN), kPoor);
}

// Errors as in the seed report give its growth rates, up to the six decimals
// that it prints, and the mean growth that metrics.h names.
TEST(TraceMetricsTest, GrowsAsTheSeedReportSays) {
  std::vector<double> mean_abs;
  for (const SeedRow& row : kSeedRows) mean_abs.push_back(row.mean_abs);
  const TraceMetrics m = Grown(mean_abs);
  double sum = 0;
  for (size_t i = 1; i < m.layers.size(); ++i) {
    const double half_digit =
        0.5e-6 / kSeedRows[i - 1].mean_abs + 0.5e-6 / kSeedRows[i].mean_abs;
    EXPECT_NEAR(*m.layers[i].growth, kSeedRows[i].growth,
                0.5e-3 + half_digit * kSeedRows[i].growth);
    sum += *m.layers[i].growth;
  }
  EXPECT_NEAR(sum / 23, 2.632, 1e-3);
  EXPECT_NEAR(*m.mean_growth, 1.438, 1e-3);
}

}  // namespace
}  // namespace ulpscope
