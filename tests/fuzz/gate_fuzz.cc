// A gate's file, on two runs.

#include <cstddef>
#include <cstdint>

#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/made_results.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using ulpscope::MadeResults;
  const absl::string_view text = ulpscope::TextOf(data, size);
  ulpscope::UseComparison(&MadeResults(false), MadeResults(true), text);
  ulpscope::UseComparison(nullptr, MadeResults(true), text);
  return 0;
}
