#ifndef EXPLORER_REPORT_DIAGNOSIS_FIGURES_H_
#define EXPLORER_REPORT_DIAGNOSIS_FIGURES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "explorer/diagnosis/results.h"

namespace ulpscope {

// What a diagnosis comes to.
enum class Outcome {
  kNothingMeasured,    // no output of the trace
  kStopped,            // before anything was found
  kUnexplained,        // nothing explains a point, and there is no cause
  kDiffers,            // the trace's program computes something else
  kRoundsElsewhere,    // it rounds at other places, and nothing else
  kUnknownArithmetic,  // no point differs, but a run of the arithmetic is not
                       // as far from the oracle as the trace
  kNoDifference,       // the arithmetic explains everything
};

// What follows from a diagnosis and its reports say beside it.
struct DiagnosisFigures {
  Outcome outcome = Outcome::kNothingMeasured;
  size_t differing = 0;        // points
  size_t still_differing = 0;  // with all causes
  size_t not_reproduced = 0;   // PointResult
  size_t not_judged = 0;       // PointResult
  // How many points hold nothing finer than a format, and to how many a preset
  // comes nearest: the most first.
  std::vector<std::pair<std::string, size_t>> held_by, closest;
  // States at which one of the two is nearer to the oracle, and states that do
  // not say it: something is not finite there.
  size_t nearer_trace = 0, nearer_ours = 0, states_not_finite = 0;
  // Of the error table, none where it has less than two rows or the first has
  // no error: the arithmetic mean of the growths as in the seed report, their
  // geometric mean, and the last row's mean absolute error by the first one's.
  std::optional<double> average_growth, mean_growth, total_growth;
};

DiagnosisFigures FiguresOf(const Diagnosis& diagnosis);

// Whether the cause is of the trace's program.
bool IsOfProgram(const DiagnosedCause& cause);

// By what is allowed; 0 if there is no distance, infinite for NaN.
double TightnessOf(const PointResult& point);

// "without effect", "unexplained", "differs", "not bit for bit", "not judged";
// else empty.
absl::string_view StatusOf(const PointResult& point);

// -1 if ours is nearer to the oracle at the state, 1 if the trace is, 0 if
// neither is (StateDistance::NearerBy).
int NearerAt(const StateDistance& state);

absl::string_view OutcomeName(Outcome outcome);   // "no_difference"
absl::string_view HeldByName(HeldBy held_by);     // "bf16 and f16"
absl::string_view CauseKindName(CauseKind kind);  // "comparison"

}  // namespace ulpscope

#endif  // EXPLORER_REPORT_DIAGNOSIS_FIGURES_H_
