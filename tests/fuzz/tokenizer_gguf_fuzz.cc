// The tokenizer in a GGUF file.

#include <cstddef>
#include <cstdint>
#include <string>

#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/gguf_mutator.h"
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto& file = *new ulpscope::InputFile("model.gguf");
  const std::string& path = file.With(ulpscope::TextOf(data, size));
  const auto tokenizer = ulpscope::Tokenizer::Load(path);
  if (tokenizer.ok()) {
    ulpscope::UseTokenizer(*tokenizer);
  } else {
    ulpscope::RequireNames(tokenizer.status(), path);
  }
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  return ulpscope::MutateGguf(data, size, max_size, seed);
}
