#include "benchmarks/rounds.h"

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/base/steady_clock.h"
#include "kernels/measure/quantile.h"

namespace ulpscope {
namespace {

constexpr double kTurnSeconds = 0.02;

// Threads and caches that wake up cost nothing in a turn of this length.
constexpr double kLongTurnSeconds = 0.2;

double SecondsOf(size_t calls, const Contender& contender) {
  const double start = SteadySeconds();
  for (size_t i = 0; i < calls; ++i) contender.call();
  return SteadySeconds() - start;
}

std::shared_ptr<void> Held(const Contender& contender) {
  return contender.hold ? contender.hold() : nullptr;
}

// Returns when this process uses next to no CPU time; false if it goes on to.
bool WaitUntilIdle() {
  constexpr absl::Duration kSleep = absl::Milliseconds(2);
  constexpr int kMostSleeps = 100;
  for (int i = 0; i < kMostSleeps; ++i) {
    const std::clock_t before = std::clock();
    absl::SleepFor(kSleep);
    const double used =
        static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    if (used < 0.1 * absl::ToDoubleSeconds(kSleep)) return true;
  }
  return false;
}

}  // namespace

Rounds::Rounds(std::vector<Contender> contenders)
    : contenders_(std::move(contenders)),
      calls_(contenders_.size(), 1),
      wakes_(contenders_.size(), true),
      seconds_(contenders_.size()),
      order_(contenders_.size()) {
  std::iota(order_.begin(), order_.end(), size_t{0});
  for (size_t c = 0; c < contenders_.size(); ++c) {
    if (!contenders_[c].refusal.empty()) continue;
    if (contenders_[c].before) {
      wakes_[c] = false;
      continue;
    }
    const std::shared_ptr<void> held = Held(contenders_[c]);
    while (true) {
      const double seconds = SecondsOf(calls_[c], contenders_[c]);
      if (seconds >= kTurnSeconds) {
        wakes_[c] = seconds < kLongTurnSeconds;
        break;
      }
      // At most tenfold: the first calls are slow.
      const double factor = 1.2 * kTurnSeconds / std::max(seconds, 1e-9);
      calls_[c] = static_cast<size_t>(static_cast<double>(calls_[c]) *
                                      std::clamp(factor, 1.2, 10.0)) +
                  1;
    }
  }
}

void Rounds::RunRound() {
  std::shuffle(order_.begin(), order_.end(), random_);
  for (const size_t c : order_) {
    if (!contenders_[c].refusal.empty()) continue;
    rested_ &= WaitUntilIdle();
    const std::shared_ptr<void> held = Held(contenders_[c]);
    if (wakes_[c]) contenders_[c].call();
    if (contenders_[c].before) contenders_[c].before();
    seconds_[c].push_back(SecondsOf(calls_[c], contenders_[c]) /
                          static_cast<double>(calls_[c]));
  }
}

Timing Rounds::timing(size_t contender) const {
  const std::vector<double>& seconds = seconds_[contender];
  if (seconds.empty()) return {};
  const double median = Quantile(seconds, 0.5);
  return {median, (Quantile(seconds, 0.75) - Quantile(seconds, 0.25)) / median};
}

double Rounds::RatioOfTimes(size_t contender, size_t baseline) const {
  std::vector<double> ratios;
  const size_t rounds =
      std::min(seconds_[contender].size(), seconds_[baseline].size());
  for (size_t r = 0; r < rounds; ++r) {
    ratios.push_back(seconds_[contender][r] / seconds_[baseline][r]);
  }
  return ratios.empty() ? 0 : Quantile(ratios, 0.5);
}

}  // namespace ulpscope
