#ifndef EXPLORER_RECOMMEND_CLOCK_H_
#define EXPLORER_RECOMMEND_CLOCK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "explorer/error/evaluation.h"
#include "explorer/error/run.h"
#include "model/architecture/plan.h"

namespace ulpscope {

// The part of a generation that is to be fast.
enum class TimedPhase { kDecode, kPrefill };
absl::string_view PhaseName(TimedPhase phase);  // "decode", "prefill"

// Where a search has its times from: the machine, or what a test says.
class PlanClock {
 public:
  virtual ~PlanClock() = default;

  // Times plans[i], in a round over all of these plans; rounds count from 0.
  // Cancelled if stopped on the way.
  virtual absl::StatusOr<TimedRun> Time(absl::Span<const Plan> plans, size_t i,
                                        size_t round) = 0;
};

// This machine's. A time that is kept is not taken again. A plan is run before
// the first that is taken: what is cold then is cold for no plan. What the run
// refers to must outlive it.
class MachineClock : public PlanClock {
 public:
  MachineClock(const Run& run, std::vector<int32_t> prompt, size_t decode_steps)
      : run_(run), prompt_(std::move(prompt)), decode_steps_(decode_steps) {}

  absl::StatusOr<TimedRun> Time(absl::Span<const Plan> plans, size_t i,
                                size_t round) override;

 private:
  const Run run_;
  const std::vector<int32_t> prompt_;
  const size_t decode_steps_;
  bool is_warm_ = false;
};

struct RoundLimits {
  size_t least = 2, most = 5;
  double seconds = 30;  // no further round starts after that
};

// Plans that were timed in rounds over all of them, so that a slow spell of the
// machine hits all alike.
struct TimedPlans {
  std::vector<PlanTiming> timings;  // [plans]: every run's
  // [plans][rounds]: logarithms of the round's seconds, of tokens the median.
  std::vector<std::vector<double>> logs;

  size_t rounds() const { return logs.empty() ? 0 : logs[0].size(); }
  double Seconds(size_t plan) const;  // geometric mean; there is a round
};

// Cancelled if stopped before `least` rounds; later, the rounds that are whole
// are there. `task` is the monitor's.
absl::StatusOr<TimedPlans> TimeInRounds(PlanClock& clock, Monitor& monitor,
                                        absl::string_view task,
                                        absl::Span<const Plan> plans,
                                        TimedPhase phase,
                                        const RoundLimits& limits);

// A ratio of times and the ends of its 95 % confidence interval, by Student's t
// of the logarithms of the rounds' ratios; no ends of a single round.
struct TimeRatio {
  double ratio = 1;
  std::optional<double> low, high;
};
TimeRatio RatioOf(absl::Span<const double> logs, absl::Span<const double> base);

}  // namespace ulpscope

#endif  // EXPLORER_RECOMMEND_CLOCK_H_
