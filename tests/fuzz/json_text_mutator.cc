// Of targets whose input is JSON.

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"

namespace ulpscope {

std::optional<std::string> MutateInput(Choice& choice,
                                       absl::string_view input) {
  return MutatedJson(choice, input);
}

}  // namespace ulpscope
