#include "model/tokenizer/byte_alphabet.h"

#include <array>
#include <cstddef>

#include "model/tokenizer/unicode.h"

namespace ulpscope {
namespace {

constexpr char32_t kAlphabetEnd = 0x100 + 68;  // 68 bytes are not printable
constexpr int kNoByte = -1;

struct Alphabet {
  Alphabet() {
    bytes.fill(kNoByte);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') ||
                             (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      const char32_t c = printable ? static_cast<char32_t>(byte) : next++;
      AppendUtf8(c, texts[static_cast<size_t>(byte)]);
      bytes[c] = byte;
    }
  }

  static const Alphabet& Get() {
    static const Alphabet& alphabet = *new Alphabet;
    return alphabet;
  }

  std::array<std::string, 256> texts;
  std::array<int, kAlphabetEnd> bytes;  // by code point
};

}  // namespace

absl::string_view ByteText(uint8_t byte) { return Alphabet::Get().texts[byte]; }

void AppendTokenBytes(absl::string_view text, std::string& bytes) {
  const Alphabet& alphabet = Alphabet::Get();
  const size_t before = bytes.size();
  for (size_t at = 0; at < text.size();) {
    const bool valid = Utf8Size(text.substr(at)) > 0;
    const char32_t c = valid ? NextCodePoint(text, at) : kAlphabetEnd;
    const int byte = c < kAlphabetEnd ? alphabet.bytes[c] : kNoByte;
    if (byte == kNoByte) {
      bytes.resize(before);
      bytes.append(text.data(), text.size());
      return;
    }
    bytes.push_back(static_cast<char>(byte));
  }
}

}  // namespace ulpscope
