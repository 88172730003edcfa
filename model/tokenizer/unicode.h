#ifndef MODEL_TOKENIZER_UNICODE_H_
#define MODEL_TOKENIZER_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace ulpscope {

// What is asked of a code point.
enum CodePointFlag : uint8_t {
  kLetter = 1,      // \p{L}
  kNumber = 2,      // \p{N}
  kSpace = 4,       // \s
  kDigit = 8,       // the pre-tokenizer Digits' digits: a newer \p{N}
  kNfcActive = 16,  // text without any of these is in NFC
};

// The CodePointFlags of a code point; 0 beyond Unicode's last.
uint8_t FlagsOf(char32_t c);

// The offset of the first byte that is not part of well-formed UTF-8 (Unicode
// Standard, table 3-7), or nothing if all are.
std::optional<size_t> FindInvalidUtf8(absl::string_view text);

// The number of bytes of the well-formed sequence that `text` begins with; 0 if
// it begins with none.
size_t Utf8Size(absl::string_view text);

// The code point of well-formed text that begins at `at`, which is moved behind
// it.
char32_t NextCodePoint(absl::string_view text, size_t& at);

void AppendUtf8(char32_t c, std::string& text);

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_UNICODE_H_
