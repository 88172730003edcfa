// Linked into targets that have MutateInput.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "tests/fuzz/fuzz_target.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  ulpscope::Choice choice(seed);
  const std::optional<std::string> changed = ulpscope::MutateInput(
      choice, {reinterpret_cast<const char*>(data), size});
  if (!changed.has_value()) return LLVMFuzzerMutate(data, size, max_size);
  // What does not fit is not changed.
  if (changed->empty() || changed->size() > max_size) return size;
  std::memcpy(data, changed->data(), changed->size());
  return changed->size();
}
