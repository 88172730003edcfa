#ifndef TESTS_MODEL_CHECKPOINT_MALFORMED_GGUF_H_
#define TESTS_MODEL_CHECKPOINT_MALFORMED_GGUF_H_

#include <string>
#include <vector>

#include "tests/model/checkpoint/malformed_cases.h"

namespace ulpscope {

Case RawGguf(std::string name, std::string bytes,
             std::vector<std::string> message);

std::vector<Case> GgufCases();

}  // namespace ulpscope

#endif  // TESTS_MODEL_CHECKPOINT_MALFORMED_GGUF_H_
