#include "model/tokenizer/token_text.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/tokenizer/unicode.h"

namespace ulpscope {
namespace {

// Controls (Cc), and of the format characters (Cf) and separators those that
// hide text or turn its direction round.
bool IsEscaped(char32_t c) {
  const struct {
    char32_t first;
    char32_t last;
  } ranges[] = {
      {0x00, 0x1f},     {0x7f, 0x9f},       {0xad, 0xad},     {0x61c, 0x61c},
      {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f}, {0xfeff, 0xfeff},
      {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
  };
  for (const auto& range : ranges) {
    if (c >= range.first && c <= range.last) return true;
  }
  return false;
}

}  // namespace

std::string QuotedBytes(absl::string_view bytes) {
  std::string quoted = "\"";
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = Utf8Size(bytes.substr(at));
    if (size == 0) {
      absl::StrAppendFormat(&quoted, "\\x%02X",
                            static_cast<uint8_t>(bytes[at++]));
      continue;
    }
    const absl::string_view character = bytes.substr(at, size);
    const char32_t c = NextCodePoint(bytes, at);
    if (c == '"' || c == '\\') {
      absl::StrAppend(&quoted, "\\", character);
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\r') {
      quoted += "\\r";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (IsEscaped(c)) {
      absl::StrAppendFormat(&quoted, "\\u{%X}", static_cast<uint32_t>(c));
    } else {
      absl::StrAppend(&quoted, character);
    }
  }
  return quoted + "\"";
}

absl::StatusOr<std::string> TokenText(const Tokenizer& tokenizer, int32_t id) {
  const absl::StatusOr<absl::string_view> bytes = tokenizer.TokenBytes(id);
  if (!bytes.ok()) return bytes.status();
  return absl::StrCat(QuotedBytes(*bytes), "(", id, ")");
}

absl::StatusOr<std::string> TokensText(const Tokenizer& tokenizer,
                                       absl::Span<const int32_t> ids) {
  std::string text;
  for (const int32_t id : ids) {
    const absl::StatusOr<std::string> token = TokenText(tokenizer, id);
    if (!token.ok()) return token.status();
    absl::StrAppend(&text, text.empty() ? "" : " ", *token);
  }
  return text;
}

}  // namespace ulpscope
