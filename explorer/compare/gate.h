#ifndef EXPLORER_COMPARE_GATE_H_
#define EXPLORER_COMPARE_GATE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "explorer/results/schema.h"

namespace ulpscope {

// A condition that figures must keep: a line "SELECTOR METRIC OP LIMIT" of a
// gate's file, such as
//   plan=torch-bf16            kl_nats  <= 3e-3
//   plan=* layer=22 op=*       rel_l2   <= 1.02 x base
//   plan=f32                   bits     == base
//   table=layers tokens=prompt rel_l2   <= 0.1
struct GateLine {
  enum class Op { kLess, kAtMost, kGreater, kAtLeast, kEqual };

  size_t number = 0;  // in the file, from 1
  std::string text;
  std::string table;  // or empty: the first that has the metric and the keys
  // Keys and patterns of their values, in which * stands for any text. A key
  // that is not named may be anything.
  std::vector<std::pair<std::string, std::string>> selector;
  std::string metric;  // a column, or "bits": every figure of the rows
  Op op = Op::kAtMost;
  std::optional<double> limit;  // a number, or what base is multiplied by
  bool of_base = false;
};

// The lines of a gate's file; blank lines, and what follows a #, are comments.
// Errors name `file`, the line, what was expected and what was found.
absl::StatusOr<std::vector<GateLine>> ParseGate(absl::string_view text,
                                                absl::string_view file);

// What came of a line at one figure.
struct GateCheck {
  enum class Outcome {
    kPassed,
    kFailed,
    kNotComparable  // `why` says it; nothing is known of the condition
  };

  const GateLine* line = nullptr;
  std::string table, of, metric;  // empty where no figure was found
  Value base, now;
  std::optional<double> limit;  // that `now` had to keep
  std::optional<double> ratio;  // now by base
  std::optional<double> p;      // of a time: that nothing changed
  Outcome outcome = Outcome::kNotComparable;
  std::string why;
  std::string command;  // measures it again
};

// Checks the lines, which outlive the result; `base` may be null, and lines
// that need it are then not comparable. A line has a check for every figure
// that it selects, and one that says so if it selects none. Errors of the two
// must be of one model and its tokens; times of one machine too, and fail only
// if a Mann-Whitney test and a least effect say that they changed.
std::vector<GateCheck> CheckGate(const std::vector<GateLine>& lines,
                                 const Results* base, const Results& now);

}  // namespace ulpscope

#endif  // EXPLORER_COMPARE_GATE_H_
