#ifndef TESTS_FUZZ_JSON_MUTATOR_H_
#define TESTS_FUZZ_JSON_MUTATOR_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "tests/fuzz/fuzz_target.h"

namespace ulpscope {

// Changes one value somewhere in it: another number, text, type or element, or
// an element more or less. Its text is JSON still.
void MutateJson(Choice& choice, nlohmann::json& json);

// The text of the same; half of the time, and of what is no JSON, none.
std::optional<std::string> MutatedJson(Choice& choice, absl::string_view text);

}  // namespace ulpscope

#endif  // TESTS_FUZZ_JSON_MUTATOR_H_
