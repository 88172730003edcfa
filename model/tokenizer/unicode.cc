#include "model/tokenizer/unicode.h"

#include <vector>

#include "model/tokenizer/unicode_tables.h"

namespace ulpscope {
namespace {

constexpr size_t kCodePoints = 0x110000;

// A byte for each code point: a look-up takes no search.
std::vector<uint8_t> MakeFlags() {
  std::vector<uint8_t> flags(kCodePoints);
  const auto mark = [&](const uint32_t* table, size_t size, size_t stride,
                        uint8_t flag) {
    for (size_t i = 0; i < size; i += stride) {
      for (uint32_t c = table[i]; c <= table[i + 1]; ++c) flags[c] |= flag;
    }
  };
  mark(kLetters, kLettersSize, 2, kLetter);
  mark(kNumbers, kNumbersSize, 2, kNumber);
  mark(kSpaces, kSpacesSize, 2, kSpace);
  mark(kDigits, kDigitsSize, 2, kDigit);
  mark(kCombiningClasses, kCombiningClassesSize, 3, kNfcActive);
  mark(kReplaced, kReplacedSize, 2, kNfcActive);
  for (size_t i = 0; i < kLongReplacementsSize;
       i += 2 + kLongReplacements[i + 1]) {
    flags[kLongReplacements[i]] |= kNfcActive;
  }
  for (size_t i = 0; i < kCompositionsSize; i += 3) {
    flags[kCompositions[i + 2]] |= kNfcActive;
  }
  // Hangul vowels and trailing consonants, which join the syllable before them.
  for (char32_t c = 0x1161; c <= 0x1175; ++c) flags[c] |= kNfcActive;
  for (char32_t c = 0x11a8; c <= 0x11c2; ++c) flags[c] |= kNfcActive;
  return flags;
}

}  // namespace

uint8_t FlagsOf(char32_t c) {
  static const std::vector<uint8_t>& flags = *new auto(MakeFlags());
  return c < kCodePoints ? flags[c] : 0;
}

size_t Utf8Size(absl::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Neither what fits into fewer bytes, nor surrogates, nor beyond U+10FFFF.
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return size;
}

std::optional<size_t> FindInvalidUtf8(absl::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = Utf8Size(text.substr(at));
    if (size == 0) return at;
    at += size;
  }
  return std::nullopt;
}

char32_t NextCodePoint(absl::string_view text, size_t& at) {
  const auto next = [&] { return static_cast<uint8_t>(text[at++]); };
  const char32_t lead = next();
  if (lead < 0x80) return lead;
  const size_t more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
  char32_t c = lead & (0x3f >> more);
  for (size_t i = 0; i < more; ++i) c = c << 6 | (next() & 0x3f);
  return c;
}

void AppendUtf8(char32_t c, std::string& text) {
  const auto append = [&](char32_t byte) {
    text.push_back(static_cast<char>(byte));
  };
  const auto trail = [&](int shift) { append(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    append(c);
  } else if (c < 0x800) {
    append(0xc0 | c >> 6);
    trail(0);
  } else if (c < 0x10000) {
    append(0xe0 | c >> 12);
    trail(6);
    trail(0);
  } else {
    append(0xf0 | c >> 18);
    trail(12);
    trail(6);
    trail(0);
  }
}

}  // namespace ulpscope
