// The tokenizer in a GGUF file.

#include <cstddef>
#include <cstdint>
#include <string>

#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/use_tokenizer.h"

namespace ulpscope {

void ReadInput(absl::string_view input) {
  static auto& file = *new InputFile("model.gguf");
  const std::string& path = file.With(input);
  const auto tokenizer = Tokenizer::Load(path);
  if (!tokenizer.ok()) return RequireNames(tokenizer.status(), path);
  UseTokenizer(*tokenizer);
}

}  // namespace ulpscope
