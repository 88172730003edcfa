#ifndef TESTS_EXPLORER_DIAGNOSIS_MADE_VALUES_H_
#define TESTS_EXPLORER_DIAGNOSIS_MADE_VALUES_H_

#include <cstddef>

#include "explorer/diagnosis/compared_values.h"
#include "kernels/base/format.h"
#include "kernels/measure/random.h"

namespace ulpscope {

// Gaussian values of two correct programs: theirs and ours are off from exact
// by one rounding each, at random.
ComparedValues MadeValues(size_t rows, size_t cols, double unit_roundoff,
                          Random& random);

// A norm's outputs in bf16: `exact` is x w, theirs and ours are x rounded,
// times w, rounded.
ComparedValues MadeNorm(size_t rows, size_t cols, Random& random);

}  // namespace ulpscope

#endif  // TESTS_EXPLORER_DIAGNOSIS_MADE_VALUES_H_
