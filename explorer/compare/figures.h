#ifndef EXPLORER_COMPARE_FIGURES_H_
#define EXPLORER_COMPARE_FIGURES_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// One figure of a run, with what it is of.
struct Figure {
  const Table* table;
  const Column* column;
  std::vector<std::pair<std::string, std::string>> keys;  // name and value
  // "layers plan=f32 tokens=prompt layer=3 rel_l2": the same in every run of
  // the same thing. Rows that their table does not tell apart are numbered.
  std::string name;
  Value value;

  // What its row is of: `name` without the table and the metric.
  std::string of() const;
};

// All figures of the results, which outlive them, in their order.
std::vector<Figure> FiguresOf(const Results& results);

// Of the same figures, by name.
std::map<absl::string_view, const Figure*> ByName(
    const std::vector<Figure>& figures);

// Whether it is compared bit for bit: no time, and no sentence, whose figures
// stand in other tables.
bool IsDeterministic(const Figure& figure);

// Whether they are the same: bit for bit, where NaN is NaN, and what was not
// measured is what was not measured.
bool SameBits(const Value& a, const Value& b);

// Why errors of the two runs cannot be compared: they are of other models,
// tokens or modes. Empty if they can.
std::string WhyNotComparable(const Results& base, const Results& now);

// Why times cannot: another machine, or other threads. Empty if they can.
std::string WhyTimesNotComparable(const Results& base, const Results& now);

// The seconds of each timed run, in the order of time.
class TimedRuns {
 public:
  explicit TimedRuns(const Results& results);

  // Of a plan in a phase; empty where none was timed.
  const std::vector<double>& Of(const std::string& plan,
                                const std::string& phase) const;

 private:
  std::map<std::pair<std::string, std::string>, std::vector<double>> runs_;
};

}  // namespace ulpscope

#endif  // EXPLORER_COMPARE_FIGURES_H_
