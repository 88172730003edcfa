#ifndef TESTS_MODEL_CHECKPOINT_LOADED_MODEL_H_
#define TESTS_MODEL_CHECKPOINT_LOADED_MODEL_H_

#include <string>

#include "kernels/base/parallel.h"
#include "model/checkpoint/weights.h"

namespace ulpscope {

// A checkpoint's weights. What cannot be loaded is a failed expectation.
Weights LoadedWeights(const std::string& checkpoint, Parallel& parallel);

// The same, loaded once and kept: of small models.
const Weights& LoadedOnce(const std::string& checkpoint);

}  // namespace ulpscope

#endif  // TESTS_MODEL_CHECKPOINT_LOADED_MODEL_H_
