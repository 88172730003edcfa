#ifndef TESTS_FUZZ_USE_TOKENIZER_H_
#define TESTS_FUZZ_USE_TOKENIZER_H_

#include "absl/strings/string_view.h"
#include "model/tokenizer/tokenizer.h"

namespace ulpscope {

// Encodes a text, with and without added tokens, and decodes the ids: the text
// again, unless the encoding says why not.
void UseTokenizer(const Tokenizer& tokenizer, absl::string_view text);

// The same of a few texts, every token alone, and a chat.
void UseTokenizer(const Tokenizer& tokenizer);

}  // namespace ulpscope

#endif  // TESTS_FUZZ_USE_TOKENIZER_H_
