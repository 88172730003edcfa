// A prompt's text, for the tokenizers of tests/testdata.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/tokenizer/nfc.h"
#include "model/tokenizer/token_text.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/unicode.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/use_tokenizer.h"

namespace ulpscope {
namespace {

std::vector<Tokenizer> Tokenizers() {
  std::vector<Tokenizer> tokenizers;
  for (const char* const name : {"llama3", "qwen2", "smollm", "qwen2.gguf"}) {
    const auto tokenizer =
        Tokenizer::Load(absl::StrCat("tests/testdata/tokenizer/", name));
    Require(tokenizer.ok(), tokenizer.status().ToString());
    tokenizers.push_back(*tokenizer);
  }
  return tokenizers;
}

}  // namespace

void ReadInput(absl::string_view text) {
  static const auto& tokenizers = *new std::vector<Tokenizer>(Tokenizers());
  for (const Tokenizer& tokenizer : tokenizers) UseTokenizer(tokenizer, text);
  Require(!FindInvalidUtf8(QuotedBytes(text)).has_value(),
          "bytes are not quoted in UTF-8");
  if (FindInvalidUtf8(text).has_value()) return;
  if (const auto normal = ToNfc(text)) {
    Require(!FindInvalidUtf8(*normal).has_value(), "NFC is not UTF-8");
    Require(!ToNfc(*normal).has_value(), "NFC is not in NFC");
  }
}

}  // namespace ulpscope
