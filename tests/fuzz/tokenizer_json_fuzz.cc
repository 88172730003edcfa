// A tokenizer.json.

#include <cstddef>
#include <cstdint>

#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/json_mutator.h"
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto& file = *new ulpscope::InputFile("tokenizer.json");
  const std::string& path = file.With(ulpscope::TextOf(data, size));
  const auto tokenizer = ulpscope::Tokenizer::Load(file.folder());
  if (tokenizer.ok()) {
    ulpscope::UseTokenizer(*tokenizer);
  } else {
    ulpscope::RequireNames(tokenizer.status(), path);
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  return ulpscope::MutateJsonText(data, size, max_size, seed);
}
