#ifndef EXPLORER_REPORT_DIAGNOSIS_FIGURES_H_
#define EXPLORER_REPORT_DIAGNOSIS_FIGURES_H_

#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"

namespace ulpscope {

// What follows from a diagnosis and its reports say beside it.
struct DiagnosisFigures {
  size_t differing = 0;        // points
  size_t still_differing = 0;  // with all causes
  size_t not_reproduced = 0;   // PointResult
  size_t nonfinite = 0;        // elements of T
  // The point that comes nearest to what it is allowed: an index into points,
  // only if there are any.
  size_t tightest = 0;
  // How many points hold nothing finer than a format, and to how many a preset
  // comes nearest: the most first.
  std::vector<std::pair<std::string, size_t>> held_by, closest;
  // States at which one of the two is nearer to the oracle.
  size_t nearer_trace = 0, nearer_ours = 0;
  // Of the error table, NaN where it has less than two rows: the arithmetic
  // mean of the growths as in the seed report, their geometric mean, and the
  // last row's mean absolute error by the first one's.
  double average_growth = std::numeric_limits<double>::quiet_NaN();
  double mean_growth = std::numeric_limits<double>::quiet_NaN();
  double total_growth = std::numeric_limits<double>::quiet_NaN();
};

DiagnosisFigures FiguresOf(const Diagnosis& diagnosis);

// A part of a row of the error table.
struct ErrorPart {
  const char* name;
  double share = 0;
};

// In the order of their names: "comparison", "rounding of the trace", ...
std::vector<ErrorPart> PartsOf(const ErrorRow& row);

absl::string_view HeldByName(HeldBy held_by);     // "bf16 and f16"
absl::string_view CauseKindName(CauseKind kind);  // "comparison"

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DIAGNOSIS_FIGURES_H_
