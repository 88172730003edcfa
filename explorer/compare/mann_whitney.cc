#include "explorer/compare/mann_whitney.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace ulpscope {
namespace {

constexpr size_t kMostExactPairs = 400;

// P(U <= u) where every order of the n + m different values is as likely.
double ExactTail(size_t n, size_t m, size_t u) {
  // ways[j][s]: sets of j of the first ranks whose U is s. The recurrence takes
  // the values in their order; the i-th, if of `a`, passes those of `b` before.
  std::vector<std::vector<double>> ways(n + 1,
                                        std::vector<double>(n * m + 1, 0));
  ways[0][0] = 1;
  for (size_t i = 1; i <= n + m; ++i) {
    for (size_t j = std::min(i, n); j >= 1; --j) {
      const size_t passed = i - j;  // of `b`, before the j-th of `a`
      if (passed > m) continue;
      for (size_t s = n * m; s + 1 > passed; --s) {
        ways[j][s] += ways[j - 1][s - passed];
        if (s == 0) break;
      }
    }
  }
  const auto& of_all = ways[n];
  const double total = std::accumulate(of_all.begin(), of_all.end(), 0.0);
  const double tail = std::accumulate(
      of_all.begin(), of_all.begin() + static_cast<ptrdiff_t>(u) + 1, 0.0);
  return tail / total;
}

}  // namespace

double MannWhitneyP(const std::vector<double>& a,
                    const std::vector<double>& b) {
  if (a.empty() || b.empty()) return 1;
  const double n = static_cast<double>(a.size());
  const double m = static_cast<double>(b.size());
  std::vector<std::pair<double, bool>> all;  // and whether it is of `a`
  for (const double x : a) all.emplace_back(x, true);
  for (const double x : b) all.emplace_back(x, false);
  std::sort(all.begin(), all.end());
  double ranks_of_a = 0, ties = 0;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    while (end < all.size() && all[end].first == all[begin].first) ++end;
    const double count = static_cast<double>(end - begin);
    const double rank = (static_cast<double>(begin + end) + 1) / 2;
    for (size_t i = begin; i < end; ++i) ranks_of_a += all[i].second ? rank : 0;
    ties += count * (count * count - 1);
    begin = end;
  }
  const double u_of_a = ranks_of_a - n * (n + 1) / 2;
  const double u = std::min(u_of_a, n * m - u_of_a);
  if (ties == 0 && a.size() * b.size() <= kMostExactPairs) {
    return std::min(1.0,
                    2 * ExactTail(a.size(), b.size(), static_cast<size_t>(u)));
  }
  const double all_count = n + m;
  const double variance =
      n * m / 12 * (all_count + 1 - ties / (all_count * (all_count - 1)));
  if (!(variance > 0)) return 1;  // all are equal
  const double z = std::max(0.0, n * m / 2 - u - 0.5) / std::sqrt(variance);
  return std::erfc(z / std::sqrt(2.0));
}

double LeastMannWhitneyP(size_t a, size_t b) {
  std::vector<double> low(a), high(b);
  std::iota(low.begin(), low.end(), 0);
  std::iota(high.begin(), high.end(), static_cast<double>(a));
  return MannWhitneyP(low, high);
}

}  // namespace ulpscope
