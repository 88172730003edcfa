#include "explorer/diagnosis/chance.h"

#include <cmath>
#include <cstddef>

namespace ulpscope {
namespace {

// A row becomes the trace's by chance if the hypothesis and the trace both
// flipped the value that was nearest to a tie. That is taken to be as likely as
// this, and of all hypotheses together it must be less likely than the second.
constexpr double kChanceHit = 0.125;
constexpr double kByChance = 1e-3;
constexpr double kHypotheses = 64;
// And this share of the rows has to.
constexpr double kMostHit = 0.75;

// The probability of at least k hits of n by chance: a binomial tail.
double HitTail(size_t k, size_t n) {
  double tail = 0;
  const double total = static_cast<double>(n);
  for (size_t i = k; i <= n; ++i) {
    const double x = static_cast<double>(i);
    tail += std::exp(std::lgamma(total + 1) - std::lgamma(x + 1) -
                     std::lgamma(total - x + 1) + x * std::log(kChanceHit) +
                     (total - x) * std::log1p(-kChanceHit));
  }
  return tail;
}

}  // namespace

bool HitsMoreThanChance(size_t rows_hit, size_t rows_moved) {
  return rows_moved > 0 &&
         static_cast<double>(rows_hit) >=
             kMostHit * static_cast<double>(rows_moved) &&
         kHypotheses * HitTail(rows_hit, rows_moved) < kByChance;
}

}  // namespace ulpscope
