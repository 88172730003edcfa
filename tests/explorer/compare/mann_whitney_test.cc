#include "explorer/compare/mann_whitney.h"

#include <cstddef>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/measure/random.h"

namespace ulpscope {
namespace {

// 2 P(U <= u) by counting every way to choose which ranks are of `a`.
double ByCounting(const std::vector<double>& a, const std::vector<double>& b) {
  const size_t n = a.size(), m = b.size();
  size_t u = 0;  // pairs in which a is larger
  for (const double x : a) {
    for (const double y : b) u += x > y;
  }
  u = u < n * m - u ? u : n * m - u;
  size_t all = 0, as_far = 0;
  for (size_t chosen = 0; chosen < size_t{1} << (n + m); ++chosen) {
    size_t count = 0, of_chosen = 0, others = 0;
    for (size_t rank = 0; rank < n + m; ++rank) {
      if (chosen >> rank & 1) {
        ++count;
        of_chosen += others;
      } else {
        ++others;
      }
    }
    if (count != n) continue;
    ++all;
    as_far += of_chosen <= u;
  }
  const double p = 2 * static_cast<double>(as_far) / static_cast<double>(all);
  return p < 1 ? p : 1;
}

TEST(MannWhitneyTest, IsExactForFewValues) {
  Random random(1);
  for (size_t n = 1; n <= 6; ++n) {
    for (size_t m = 1; m <= 7; ++m) {
      std::vector<double> a, b;
      for (size_t i = 0; i < n; ++i) a.push_back(random.Uniform());
      for (size_t i = 0; i < m; ++i) b.push_back(random.Uniform() + 0.2);
      // Sums of small integers, one division.
      EXPECT_NEAR(MannWhitneyP(a, b), ByCounting(a, b), 1e-15) << n << " " << m;
      EXPECT_EQ(MannWhitneyP(a, b), MannWhitneyP(b, a));
    }
  }
}

// Of two samples of one distribution, p is below alpha in a share alpha.
TEST(MannWhitneyTest, IsRarelySmallByChance) {
  Random random(2);
  constexpr int kTrials = 4000;
  for (const double step : {0.0, 0.1}) {  // with ties too
    int below = 0;
    for (int trial = 0; trial < kTrials; ++trial) {
      std::vector<double> a, b;
      for (int i = 0; i < 25; ++i) {
        for (std::vector<double>* to : {&a, &b}) {
          const double x = random.Uniform();
          to->push_back(step == 0 ? x : static_cast<int>(x / step));
        }
      }
      below += MannWhitneyP(a, b) < 0.05;
    }
    // 200 expected; six standard deviations of a binomial are 83.
    EXPECT_GT(below, 200 - 83) << step;
    EXPECT_LT(below, 200 + 83) << step;
  }
}

TEST(MannWhitneyTest, EqualOrEmptySamplesSayNothing) {
  EXPECT_EQ(MannWhitneyP({}, {1, 2}), 1);
  EXPECT_EQ(MannWhitneyP({3, 3, 3}, {3, 3}), 1);
  EXPECT_EQ(MannWhitneyP({1}, {2}), 1);
}

TEST(MannWhitneyTest, FewValuesCannotTell) {
  EXPECT_NEAR(LeastMannWhitneyP(4, 4), 2.0 / 70, 1e-15);
  EXPECT_LT(LeastMannWhitneyP(5, 5), 0.01);
  EXPECT_LT(LeastMannWhitneyP(100, 100), 1e-20);
}

}  // namespace
}  // namespace ulpscope
