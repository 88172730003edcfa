#ifndef TESTS_FUZZ_JSON_MUTATOR_H_
#define TESTS_FUZZ_JSON_MUTATOR_H_

#include <cstddef>
#include <cstdint>

#include "nlohmann/json.hpp"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {

// Changes one value somewhere in it: another number, text, type or element, or
// an element more or less. Its text is JSON still.
void MutateJson(Choice& choice, nlohmann::json& json);

// A custom mutator of a text that is JSON, or was.
size_t MutateJsonText(uint8_t* data, size_t size, size_t max_size,
                      unsigned int seed);

}  // namespace ulpscope

#endif  // TESTS_FUZZ_JSON_MUTATOR_H_
