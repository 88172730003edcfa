#ifndef BENCHMARKS_ROUNDS_H_
#define BENCHMARKS_ROUNDS_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace ulpscope {

// One way to do a case's work, timed beside the others.
struct Contender {
  std::string name;
  std::function<void()> call;
  double work = 0;   // of a call: FLOPs, bytes or whatever the case counts
  double share = 1;  // of the case's limit that this arithmetic can reach
  std::string refusal = {};  // why it is not timed; then call may be null
  // If there is one, it is called before each turn, and the turn is one call
  // without any rest between: for what is to be timed in the state that
  // something else leaves the CPU in.
  std::function<void()> before = {};
  // What it returns lives as long as a turn: threads that wait awake, say.
  std::function<std::shared_ptr<void>()> hold = {};
};

// What a contender took: per call, over the rounds.
struct Timing {
  double median_seconds = 0;
  double spread = 0;  // distance between the quartiles over the median
};

// Times contenders against each other in rounds: each has a turn in every
// round, so that whatever the machine does meanwhile, it does to all. The order
// of turns is drawn anew for every round: a CPU's clock remembers for a while
// what it has just run, and nobody should always follow the same neighbour.
//
// A library's threads go on spinning for a while when a call is over,
// OpenBLAS's for 26 ms: with no CPU to spare they would take it from whoever is
// next. A turn therefore begins when the process has come to rest, and, unless
// its calls are long, with one that is not timed, which wakes the contender's
// own threads and caches. That is kinder to a peer than to forbid its threads
// to spin (OMP_WAIT_POLICY=passive, OPENBLAS_THREAD_TIMEOUT), as it might need
// them to.
class Rounds {
 public:
  // Calls each contender until it is known how many calls make a turn.
  explicit Rounds(std::vector<Contender> contenders);

  void RunRound();

  const std::vector<Contender>& contenders() const { return contenders_; }
  Timing timing(size_t contender) const;

  // Time of `contender` in times of `baseline`'s: the median over the rounds of
  // their ratio within a round, which a machine that drifts moves less than
  // the ratio of two medians. 0 without rounds of both.
  double RatioOfTimes(size_t contender, size_t baseline) const;

  // Whether the process always came to rest before a turn.
  bool rested() const { return rested_; }

 private:
  std::vector<Contender> contenders_;
  std::vector<size_t> calls_;  // of a turn
  std::vector<bool> wakes_;    // whether a call that is not timed comes first
  std::vector<std::vector<double>> seconds_;  // per call, round by round
  std::vector<size_t> order_;                 // of turns
  std::mt19937 random_;  // always the same seed: runs can be repeated
  bool rested_ = true;
};

}  // namespace ulpscope

#endif  // BENCHMARKS_ROUNDS_H_
