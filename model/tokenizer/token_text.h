#ifndef MODEL_TOKENIZER_TOKEN_TEXT_H_
#define MODEL_TOKENIZER_TOKEN_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/tokenizer/tokenizer.h"

namespace ulpscope {

// The bytes in double quotes, on one line and safe for a terminal: \n, \r, \t,
// \" and \\; other control characters, and those that are invisible or change
// the direction of text, as \u{200B}; bytes that are not part of a whole
// character, as where a token ends within one, as \xE4. Unambiguous: a
// backslash of the text is doubled.
std::string QuotedBytes(absl::string_view bytes);

// A token for readers: "Hello"(9707). OutOfRange for an id without a token.
absl::StatusOr<std::string> TokenText(const Tokenizer& tokenizer, int32_t id);

// How a text is split: "Hello"(9707) " world"(1879).
absl::StatusOr<std::string> TokensText(const Tokenizer& tokenizer,
                                       absl::Span<const int32_t> ids);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_TOKEN_TEXT_H_
