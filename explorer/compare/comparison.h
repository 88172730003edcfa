#ifndef EXPLORER_COMPARE_COMPARISON_H_
#define EXPLORER_COMPARE_COMPARISON_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "explorer/results/schema.h"

namespace ulpscope {

// What changed from one run to another of the same thing.
struct Comparison {
  // A figure that is not the same bit for bit, or that one of the two lacks.
  struct Difference {
    std::string table, of, metric, unit;
    Value base, now;  // none also where it is missing
    bool in_base = true, in_now = true;
    std::optional<double> ratio;  // now by base, of numbers that have one
  };
  struct OfTable {
    std::string table;
    size_t figures = 0, same = 0, different = 0, only_in_base = 0,
           only_in_now = 0;
  };
  // The speed of a plan in a phase, where both were timed on one machine.
  struct Speed {
    std::string plan, phase;
    double base_seconds = 0, now_seconds = 0;  // medians
    size_t base_runs = 0, now_runs = 0;
    double ratio = 0;    // of speeds: above 1, it became faster
    double p = 1;        // that nothing changed (MannWhitneyP)
    bool clear = false;  // p < kClearP, and by more than kLeastEffect
  };

  std::string not_comparable;        // why errors are not; else empty
  std::string times_not_comparable;  // why times are not; else empty
  std::vector<OfTable> tables;
  std::vector<Difference> differences;  // of figures that are no times
  std::vector<Speed> speeds;

  bool same() const { return not_comparable.empty() && differences.empty(); }
};

// A change of speed is one if chance gives it once in a hundred times, and if
// it is of a size that matters.
inline constexpr double kClearP = 0.01;
inline constexpr double kLeastEffect = 0.03;

// The change of speed; medians of seconds, none of them zero.
Comparison::Speed CompareSpeed(const std::vector<double>& base_seconds,
                               const std::vector<double>& now_seconds);

// Errors are deterministic, and compared bit for bit; times by a test. Texts
// of sentences are not compared: their figures are.
Comparison Compare(const Results& base, const Results& now);

}  // namespace ulpscope

#endif  // EXPLORER_COMPARE_COMPARISON_H_
