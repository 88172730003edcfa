#include "model/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "model/tokenizer/unicode.h"

namespace ulpscope {
namespace {

struct Unit {
  char32_t c;
  uint8_t flags;
  size_t begin;  // its offset in the text
};

bool IsNewline(const Unit& unit) { return unit.c == '\r' || unit.c == '\n'; }
bool IsLetter(const Unit& unit) { return (unit.flags & kLetter) != 0; }
bool IsNumber(const Unit& unit) { return (unit.flags & kNumber) != 0; }
bool IsSpace(const Unit& unit) { return (unit.flags & kSpace) != 0; }
// [^\s\p{L}\p{N}]
bool IsOther(const Unit& unit) {
  return (unit.flags & (kLetter | kNumber | kSpace)) == 0;
}

// Units [i, size()) of a text; each function returns the end of what its part
// of a regular expression matches from i on, or i for no match.
class Units {
 public:
  explicit Units(absl::string_view text) {
    units_.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      const char32_t c = NextCodePoint(text, at);
      units_.push_back({c, FlagsOf(c), begin});
    }
  }

  size_t size() const { return units_.size(); }
  const Unit& operator[](size_t i) const { return units_[i]; }

  // A class, at most `most` times.
  template <class Is>
  size_t While(size_t i, size_t end, Is is, size_t most = SIZE_MAX) const {
    const size_t last = most < end - i ? i + most : end;
    while (i < last && is(units_[i])) ++i;
    return i;
  }

  // 's|'t|'re|'ve|'m|'ll|'d, of either case where `fold` says so. U+017F is an
  // s then: case folding makes it one (CaseFolding.txt).
  size_t Contraction(size_t i, size_t end, bool fold) const {
    if (units_[i].c != '\'') return i;
    const auto letter = [&](size_t at) -> char32_t {
      if (at >= end) return 0;
      const char32_t c = units_[at].c;
      if (!fold) return c;
      if (c == 0x17f) return 's';
      return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
    };
    const char32_t first = letter(i + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
      return i + 2;
    }
    const char32_t second = letter(i + 2);
    const bool matches = (first == 'r' && second == 'e') ||
                         (first == 'v' && second == 'e') ||
                         (first == 'l' && second == 'l');
    return matches ? i + 3 : i;
  }

  // " ?" and one or more of a class.
  template <class Is>
  size_t AfterSpace(size_t i, size_t end, Is is) const {
    const size_t begin = units_[i].c == ' ' ? i + 1 : i;
    const size_t matched = While(begin, end, is);
    return matched > begin ? matched : i;
  }

  // \s+(?!\S)|\s+: all of the white space, but its last where something follows
  // that is none and another is before it.
  size_t WhiteSpace(size_t i, size_t end) const {
    const size_t matched = While(i, end, IsSpace);
    return matched == end || matched - i < 2 ? matched : matched - 1;
  }

 private:
  std::vector<Unit> units_;
};

// kQwen2Pattern and kLlama3Pattern.
size_t EndOfPatternWord(const Units& units, size_t i, size_t end,
                        size_t most_numbers) {
  size_t matched = units.Contraction(i, end, /*fold=*/true);
  if (matched > i) return matched;
  const Unit& first = units[i];
  const bool may_lead =
      !IsNewline(first) && !IsLetter(first) && !IsNumber(first);
  const size_t begin = may_lead ? i + 1 : i;
  matched = units.While(begin, end, IsLetter);
  if (matched > begin) return matched;
  matched = units.While(i, end, IsNumber, most_numbers);
  if (matched > i) return matched;
  matched = units.AfterSpace(i, end, IsOther);
  if (matched > i) return units.While(matched, end, IsNewline);
  // \s*[\r\n]+: the white space as far as its last newline.
  const size_t space_end = units.While(i, end, IsSpace);
  for (size_t last = space_end; last > i; --last) {
    if (IsNewline(units[last - 1])) return last;
  }
  return units.WhiteSpace(i, end);
}

// GPT-2's:
// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t EndOfGpt2Word(const Units& units, size_t i, size_t end) {
  size_t matched = units.Contraction(i, end, /*fold=*/false);
  if (matched > i) return matched;
  matched = units.AfterSpace(i, end, IsLetter);
  if (matched > i) return matched;
  matched = units.AfterSpace(i, end, IsNumber);
  if (matched > i) return matched;
  matched = units.AfterSpace(i, end, IsOther);
  if (matched > i) return matched;
  return units.WhiteSpace(i, end);
}

}  // namespace

void Split(PreTokenizer how, absl::string_view text,
           std::vector<absl::string_view>& words) {
  const Units units(text);
  const auto is_digit = [](const Unit& unit) {
    return (unit.flags & kDigit) != 0;
  };
  const auto is_no_digit = [&](const Unit& unit) { return !is_digit(unit); };
  size_t piece_end = 0;  // of SmolLM: up to the next digit
  for (size_t i = 0; i < units.size();) {
    size_t end = i;
    switch (how) {
      case PreTokenizer::kQwen2:
        end = EndOfPatternWord(units, i, units.size(), 1);
        break;
      case PreTokenizer::kLlama3:
        end = EndOfPatternWord(units, i, units.size(), 3);
        break;
      case PreTokenizer::kSmolLm:
        if (i == piece_end)
          piece_end = units.While(i, units.size(), is_no_digit);
        end = i == piece_end ? i + 1 : EndOfGpt2Word(units, i, piece_end);
        if (i == piece_end) piece_end = end;
        break;
    }
    const size_t begin = units[i].begin;
    const size_t stop = end < units.size() ? units[end].begin : text.size();
    words.push_back(text.substr(begin, stop - begin));
    i = end;
  }
}

}  // namespace ulpscope
