#ifndef EXPLORER_DIAGNOSIS_COMPARED_VALUES_H_
#define EXPLORER_DIAGNOSIS_COMPARED_VALUES_H_

#include <cstddef>
#include <vector>

namespace ulpscope {

// A point of a trace beside a replay of it, element by element: [rows, cols],
// row by row. Rows are positions; of scores, heads times positions.
struct ComparedValues {
  size_t rows = 0, cols = 0;
  // T's, the replay's (as it is compared: rounded if T was when it was stored),
  // and the oracle's replay.
  std::vector<double> theirs, ours, exact;
  // The square of the rounding error that is to be expected of ours.
  std::vector<double> noise;
  // Whether an element stands out from its row; empty: none does. And whether
  // it has a meaning, as scores behind their position have not; empty: all do.
  std::vector<bool> outstanding, without_meaning;

  // What heads a row is divided into: first those of queries, then those of
  // keys or values, `head_dim` channels each. None of other ops.
  size_t query_heads = 0, kv_heads = 0, head_dim = 0;
  // Rows are positions [first_position, first_position + positions) of each of
  // score_heads heads, or of none if 0.
  size_t first_position = 0, score_heads = 0;

  size_t positions() const {
    return score_heads == 0 ? rows : rows / score_heads;
  }
  size_t PositionOfRow(size_t row) const { return row % positions(); }
  size_t At(size_t row, size_t col) const { return row * cols + col; }
  bool Counts(size_t at) const {
    return without_meaning.empty() || !without_meaning[at];
  }
};

// Whether some elements of theirs are ours within rounding (belief.h): with N
// the sum of noise and nu of how many independent errors it is,
//   |theirs - ours| <= 2 (1 + 6 sqrt(2 / nu)) sqrt(N).
class Agreement {
 public:
  // Of ours as it is to be, `noise` the square of its rounding error.
  void Add(double theirs, double ours, double noise);

  size_t elements() const { return elements_; }
  size_t identical() const { return identical_; }
  bool is_identical() const { return identical_ == elements_; }
  double squares() const { return squares_; }
  // Of how many independent elements the difference is; 0 of none.
  double independent() const {
    return quartic_ > 0 ? squares_ * squares_ / quartic_ : 0;
  }
  double Allowed() const;
  // Elements that are finite on one side only, or not the same infinity, agree
  // in no case.
  bool Agrees() const;

 private:
  size_t elements_ = 0, identical_ = 0, nonfinite_ = 0;
  double squares_ = 0, quartic_ = 0;  // of theirs - ours
  double noise_ = 0, noise_quartic_ = 0;
};

// ln of the probability that a difference in a random direction of so many
// dimensions (independent elements of it) is left with no more than `left` of
// its square when `parameters` of them are taken away: a cap of a sphere, no
// more than left^((dimensions - parameters) / 2).
double LogChance(double left, double dimensions, double parameters);

// Whether what is said of a point is not by chance, of all that may be said of
// it: `log_chance` with a thousandth, and these many things.
bool IsBeyondChance(double log_chance, double things);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_COMPARED_VALUES_H_
