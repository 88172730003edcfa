#include "model/tokenizer/nfc.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "model/tokenizer/unicode.h"
#include "model/tokenizer/unicode_tables.h"

namespace ulpscope {
namespace {

// Hangul syllables are computed (Unicode Standard, section 3.12).
constexpr char32_t kSyllables = 0xac00;
constexpr char32_t kLeads = 0x1100;
constexpr char32_t kVowels = 0x1161;
constexpr char32_t kTrails = 0x11a7;  // of no trailing consonant
constexpr char32_t kLeadCount = 19;
constexpr char32_t kVowelCount = 21;
constexpr char32_t kTrailCount = 28;
constexpr char32_t kSyllableCount = kLeadCount * kVowelCount * kTrailCount;

constexpr uint64_t PairKey(char32_t first, char32_t second) {
  return uint64_t{first} << 32 | second;
}

// The generated tables, made quick to search.
struct Tables {
  Tables() {
    for (size_t i = 0; i < kCombiningClassesSize; i += 3) {
      const uint32_t* row = kCombiningClasses + i;
      for (char32_t c = row[0]; c <= row[1]; ++c) {
        classes[c] = static_cast<uint8_t>(row[2]);
      }
    }
    for (size_t i = 0; i < kCompositionsSize; i += 3) {
      const uint32_t* row = kCompositions + i;
      compositions[PairKey(row[1], row[2])] = row[0];
      parts[row[0]] = {row[1], row[2]};
    }
    const uint32_t* target = kReplacements;
    for (size_t i = 0; i < kReplacedSize; i += 2) {
      for (char32_t c = kReplaced[i]; c <= kReplaced[i + 1]; ++c) {
        parts[c] = {*target++};
      }
    }
    for (size_t i = 0; i < kLongReplacementsSize;) {
      const uint32_t* row = kLongReplacements + i;
      parts[row[0]].assign(row + 2, row + 2 + row[1]);
      i += 2 + row[1];
    }
  }

  static const Tables& Get() {
    static const Tables& tables = *new Tables;
    return tables;
  }

  absl::flat_hash_map<char32_t, uint8_t> classes;
  absl::flat_hash_map<uint64_t, char32_t> compositions;
  // What a code point is equivalent to, which may have parts again.
  absl::flat_hash_map<char32_t, std::vector<char32_t>> parts;
};

struct Character {
  char32_t c;
  uint8_t combining_class;
};

// Appends the canonical decomposition. The recursion ends: the tables are those
// of Unicode, where it is at most three deep.
void Decompose(char32_t c, std::vector<Character>& out) {
  const Tables& tables = Tables::Get();
  if (c >= kSyllables && c < kSyllables + kSyllableCount) {
    const char32_t index = c - kSyllables;
    const char32_t trail = index % kTrailCount;
    out.push_back({kLeads + index / (kVowelCount * kTrailCount), 0});
    out.push_back({kVowels + index / kTrailCount % kVowelCount, 0});
    if (trail != 0) out.push_back({kTrails + trail, 0});
    return;
  }
  const auto parts = tables.parts.find(c);
  if (parts != tables.parts.end()) {
    for (const char32_t part : parts->second) Decompose(part, out);
    return;
  }
  const auto found = tables.classes.find(c);
  out.push_back(
      {c, found == tables.classes.end() ? uint8_t{0} : found->second});
}

// The canonical ordering: marks behind their starter by class, those of one
// class as they were.
void SortMarks(std::vector<Character>& text) {
  const auto is_starter = [](const Character& a) {
    return a.combining_class == 0;
  };
  for (auto begin = text.begin(); begin != text.end();) {
    begin = std::find_if_not(begin, text.end(), is_starter);
    const auto end = std::find_if(begin, text.end(), is_starter);
    std::stable_sort(begin, end, [](const Character& a, const Character& b) {
      return a.combining_class < b.combining_class;
    });
    begin = end;
  }
}

// The code point that the two compose to; 0 if there is none.
char32_t Compose(char32_t first, char32_t second) {
  if (first >= kLeads && first < kLeads + kLeadCount && second >= kVowels &&
      second < kVowels + kVowelCount) {
    return kSyllables +
           ((first - kLeads) * kVowelCount + second - kVowels) * kTrailCount;
  }
  if (first >= kSyllables && first < kSyllables + kSyllableCount &&
      (first - kSyllables) % kTrailCount == 0 && second > kTrails &&
      second < kTrails + kTrailCount) {
    return first + second - kTrails;
  }
  const Tables& tables = Tables::Get();
  const auto found = tables.compositions.find(PairKey(first, second));
  return found == tables.compositions.end() ? 0 : found->second;
}

// The canonical composition, in place: a character joins the last starter if
// none between them is a starter or of a class as high as its own.
void ComposeAll(std::vector<Character>& text) {
  constexpr size_t kNone = SIZE_MAX;
  size_t size = 0;
  size_t starter = kNone;
  for (const Character next : std::exchange(text, {})) {
    if (starter != kNone &&
        (size - 1 == starter ||
         text[size - 1].combining_class < next.combining_class)) {
      if (const char32_t whole = Compose(text[starter].c, next.c)) {
        text[starter].c = whole;
        continue;
      }
    }
    if (next.combining_class == 0) starter = size;
    text.push_back(next);
    ++size;
  }
}

}  // namespace

std::optional<std::string> ToNfc(absl::string_view text) {
  bool active = false;
  for (size_t at = 0; at < text.size() && !active;) {
    active = (FlagsOf(NextCodePoint(text, at)) & kNfcActive) != 0;
  }
  if (!active) return std::nullopt;
  std::vector<Character> characters;
  characters.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    Decompose(NextCodePoint(text, at), characters);
  }
  SortMarks(characters);
  ComposeAll(characters);
  std::string normal;
  normal.reserve(text.size());
  for (const Character& character : characters) {
    AppendUtf8(character.c, normal);
  }
  if (normal == text) return std::nullopt;
  return normal;
}

}  // namespace ulpscope
