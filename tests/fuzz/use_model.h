#ifndef TESTS_FUZZ_USE_MODEL_H_
#define TESTS_FUZZ_USE_MODEL_H_

#include <string>

#include "model/checkpoint/checkpoint.h"

namespace ulpscope {

// Loads the weights of a model that was opened from `path`, and, if that works
// and it is small, generates a token. Larger ones are loaded as far as their
// first missing tensor.
void UseModel(const Checkpoint& model, const std::string& path);

}  // namespace ulpscope

#endif  // TESTS_FUZZ_USE_MODEL_H_
