#ifndef TESTS_LOADED_MODEL_H_
#define TESTS_LOADED_MODEL_H_

#include <string>

#include "kernels/parallel.h"
#include "model/weights.h"

namespace ulpscope {

// A checkpoint's weights. What cannot be loaded is a failed expectation.
Weights LoadedWeights(const std::string& checkpoint, Parallel& parallel);

// The same, loaded once and kept: of small models.
const Weights& LoadedOnce(const std::string& checkpoint);

}  // namespace ulpscope

#endif  // TESTS_LOADED_MODEL_H_
