// A tokenizer.json.

#include <cstddef>
#include <cstdint>

#include "model/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/use_tokenizer.h"

namespace ulpscope {

void ReadInput(absl::string_view input) {
  static auto& file = *new InputFile("tokenizer.json");
  const std::string& path = file.With(input);
  const auto tokenizer = Tokenizer::Load(file.folder());
  if (!tokenizer.ok()) return RequireNames(tokenizer.status(), path);
  UseTokenizer(*tokenizer);
}

}  // namespace ulpscope
