#ifndef EXPLORER_DIAGNOSIS_EVIDENT_LOGITS_H_
#define EXPLORER_DIAGNOSIS_EVIDENT_LOGITS_H_

#include <vector>

#include "explorer/diagnosis/hypotheses.h"
#include "kernels/base/matrix.h"

namespace ulpscope {

// A factor is all that is between two vectors if this is less than 1 - their
// squared cosine: well above what rounding to bf16 makes of it.
inline constexpr double kOneFactor = 1e-3;

// The number that a measured one is meant to be, by its standard error relative
// to it: a power of two, a largest number of an 8-bit format or 1 over one, or
// one of at most three digits if it is within six of these; else the measured
// one.
double NearestNumber(double measured, double relative_error);

// What a program may do to its logits before it writes them, by some rows of
// theirs, rounded by `unit_roundoff`, the first of which are `ours`' rows: a
// factor (a temperature), tanh (soft-capping), the logarithm of the softmax.
std::vector<Hypothesis> LogitsHypotheses(Matrix<const double> theirs,
                                         Matrix<const double> ours,
                                         double unit_roundoff);

}  // namespace ulpscope

#endif  // EXPLORER_DIAGNOSIS_EVIDENT_LOGITS_H_
