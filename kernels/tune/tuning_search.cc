#include "kernels/tune/tuning_search.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/measure/quantile.h"
#include "kernels/measure/random.h"
#include "kernels/ops/tuning.h"

namespace ulpscope {
namespace {

// Rounds in which the choices of a parameter are compared: after the first ones
// the hopeless are dropped, and after the last one there are more only until
// those that seem faster are so beyond the noise.
constexpr size_t kRoundsForAll = 3;
constexpr size_t kRounds = 9;
constexpr size_t kMostRounds = 36;
// Of the final comparison with the default.
constexpr size_t kFinalRounds = 36;
// How many there are of both when the time is over.
constexpr size_t kLeastRounds = 5;
constexpr size_t kLeastFinalRounds = 12;
// Of the time, for all but the final comparison.
constexpr double kSearchShare = 0.8;
constexpr double kLeastGain = 0.01;

double Median(const std::vector<double>& values) {
  return Quantile(values, 0.5);
}

struct Trial {
  MatMulTuning tuning;
  std::vector<double> seconds;  // per round
  bool dropped = false;
};

// Round by round.
std::vector<double> Ratios(const Trial& a, const Trial& b) {
  std::vector<double> ratios;
  const size_t rounds = std::min(a.seconds.size(), b.seconds.size());
  for (size_t i = 0; i < rounds; ++i) {
    ratios.push_back(a.seconds[i] / b.seconds[i]);
  }
  return ratios;
}

class Search {
 public:
  explicit Search(TuningSubject& subject) : subject_(subject), random_(1) {}

  absl::StatusOr<TuningResult> Run(const std::vector<TuningChoices>& choices,
                                   double seconds) {
    if (!subject_.IsRight({})) {
      return absl::FailedPreconditionError(
          "the default's result is outside the strategy's error bound");
    }
    const double start = subject_.Clock();
    end_ = start + kSearchShare * seconds;
    for (const TuningChoices& parameter : choices) {
      if (subject_.Clock() > end_ || subject_.Stopped()) {
        result_.complete = false;
        break;
      }
      Improve(parameter);
    }
    end_ = start + seconds;
    Confirm();
    if (subject_.Stopped()) return absl::CancelledError("stopped");
    result_.worst_seconds =
        result_.default_seconds * std::max(1.0, worst_ratio_);
    return result_;
  }

 private:
  // Once for each candidate that is not dropped, in an order that varies: what
  // a call leaves behind in the machine would favour the same neighbour.
  // False if it was stopped on the way.
  bool Round(std::vector<Trial>& candidates) {
    std::vector<Trial*> order;
    for (Trial& candidate : candidates) {
      if (!candidate.dropped) order.push_back(&candidate);
    }
    for (size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[random_.Below(i)]);
    }
    for (Trial* candidate : order) {
      if (subject_.Stopped()) return false;
      candidate->seconds.push_back(subject_.Time(candidate->tuning));
    }
    return true;
  }

  void Improve(const TuningChoices& parameter) {
    // The default and what is best so far are always among them.
    std::vector<Trial> candidates(1);
    size_t best = 0;
    if (!(result_.best == MatMulTuning())) {
      best = 1;
      candidates.push_back({result_.best, {}, false});
    }
    const size_t always = candidates.size();
    for (const uint32_t value : parameter.values) {
      MatMulTuning tuning = result_.best;
      tuning.*parameter.parameter = value;
      if (std::any_of(candidates.begin(), candidates.end(),
                      [&](const Trial& c) {
                        return subject_.AreTheSame(c.tuning, tuning);
                      })) {
        continue;
      }
      if (subject_.Stopped()) return;
      ++result_.candidates;
      if (subject_.IsRight(tuning)) {
        candidates.push_back({tuning, {}, false});
      } else {
        ++result_.wrong;
      }
    }
    if (candidates.size() == always) return;

    bool undecided = true;
    for (size_t round = 1; undecided && round <= kMostRounds; ++round) {
      if (round > kLeastRounds && subject_.Clock() > end_) break;
      if (!Round(candidates)) return;
      if (round < kRoundsForAll) continue;
      undecided = false;
      for (size_t i = always; i < candidates.size(); ++i) {
        if (candidates[i].dropped) continue;
        const std::vector<double> ratios =
            Ratios(candidates[i], candidates[best]);
        // Slower than the best so far even in the best of its rounds.
        candidates[i].dropped =
            *std::min_element(ratios.begin(), ratios.end()) > 1;
        if (candidates[i].dropped) continue;
        undecided = undecided || round < kRounds ||
                    (Median(ratios) < 1 - kLeastGain && !IsFaster(ratios));
      }
    }
    for (size_t i = 1; i < candidates.size(); ++i) {
      worst_ratio_ =
          std::max(worst_ratio_, Median(Ratios(candidates[i], candidates[0])));
    }
    size_t fastest = best;
    double least = 1;
    for (size_t i = always; i < candidates.size(); ++i) {
      if (candidates[i].dropped) continue;
      const std::vector<double> ratios =
          Ratios(candidates[i], candidates[best]);
      const double ratio = Median(ratios);
      if (ratio < least && IsFaster(ratios)) {
        least = ratio;
        fastest = i;
      }
    }
    result_.best = candidates[fastest].tuning;
    default_seconds_ = std::move(candidates[0].seconds);
  }

  void Confirm() {
    if (subject_.Stopped()) return;
    if (result_.best == MatMulTuning()) {
      if (default_seconds_.empty()) {
        default_seconds_.push_back(subject_.Time({}));
      }
      result_.default_seconds = Median(default_seconds_);
      result_.best_seconds = result_.default_seconds;
      return;
    }
    std::vector<Trial> both(2);
    both[1].tuning = result_.best;
    for (size_t round = 1; round <= kFinalRounds; ++round) {
      if (round > kLeastFinalRounds && subject_.Clock() > end_) break;
      if (!Round(both)) return;
    }
    result_.default_seconds = Median(both[0].seconds);
    const std::vector<double> ratios = Ratios(both[1], both[0]);
    const double ratio = Median(ratios);
    worst_ratio_ = std::max(worst_ratio_, ratio);
    if (IsFaster(ratios)) {
      result_.best_seconds = result_.default_seconds * ratio;
    } else {
      result_.best = MatMulTuning();
      result_.best_seconds = result_.default_seconds;
    }
  }

  TuningSubject& subject_;
  Random random_;
  double end_ = 0;  // on the subject's clock, of what is being done
  TuningResult result_;
  std::vector<double> default_seconds_;  // of the last parameter's rounds
  double worst_ratio_ = 1;               // to the default
};

}  // namespace

absl::StatusOr<TuningResult> SearchTuning(
    TuningSubject& subject, const std::vector<TuningChoices>& choices,
    double seconds) {
  return Search(subject).Run(choices, seconds);
}

bool IsFaster(std::vector<double> ratios) {
  const double count = static_cast<double>(ratios.size());
  const double median = Median(ratios);
  for (double& ratio : ratios) ratio = std::fabs(ratio - median);
  // Of a normal distribution, the deviation is 1.4826 times the median of the
  // absolute deviations, and a median's standard error is sqrt(pi / 2) of the
  // mean's.
  const double error = 1.4826 * Median(ratios) * 1.2533 / std::sqrt(count);
  return median < 1 - std::max(kLeastGain, 3 * error);
}

}  // namespace ulpscope
