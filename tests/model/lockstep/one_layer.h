#ifndef TESTS_MODEL_LOCKSTEP_ONE_LAYER_H_
#define TESTS_MODEL_LOCKSTEP_ONE_LAYER_H_

#include <cstddef>

#include "model/checkpoint/weights.h"

namespace ulpscope {

// A model of one layer.
Weights OneLayer(size_t hidden, size_t heads, size_t vocab);

}  // namespace ulpscope

#endif  // TESTS_MODEL_LOCKSTEP_ONE_LAYER_H_
