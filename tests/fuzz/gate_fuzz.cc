// A gate's file, on two runs.

#include <cstddef>
#include <cstdint>

#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/made_results.h"

namespace ulpscope {

void ReadInput(absl::string_view input) {
  UseComparison(&MadeResults(false), MadeResults(true), input);
  UseComparison(nullptr, MadeResults(true), input);
}

}  // namespace ulpscope
