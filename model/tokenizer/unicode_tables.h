#ifndef MODEL_TOKENIZER_UNICODE_TABLES_H_
#define MODEL_TOKENIZER_UNICODE_TABLES_H_

#include <cstddef>
#include <cstdint>

namespace ulpscope {

// What tools/make_unicode_tables.py found by asking Hugging Face's tokenizers
// of every code point. Sizes are in integers.

// First and last code point of each range, in ascending order: what \p{L},
// \p{N} and \s match, and what the pre-tokenizer Digits takes for a digit.
extern const uint32_t kLetters[];
extern const size_t kLettersSize;
extern const uint32_t kNumbers[];
extern const size_t kNumbersSize;
extern const uint32_t kSpaces[];
extern const size_t kSpacesSize;
extern const uint32_t kDigits[];
extern const size_t kDigitsSize;

// First and last code point of a range, and their canonical combining class,
// where that is not 0 (Unicode Standard Annex 15 has the terms).
extern const uint32_t kCombiningClasses[];
extern const size_t kCombiningClassesSize;

// A composed code point, and the two that NFC composes it from, the first of
// which may be composed too. Hangul is not among them.
extern const uint32_t kCompositions[];
extern const size_t kCompositionsSize;

// First and last code point of a range of which NFC has another code point for
// each; and these, of all ranges in turn.
extern const uint32_t kReplaced[];
extern const size_t kReplacedSize;
extern const uint32_t kReplacements[];
extern const size_t kReplacementsSize;

// A code point, the number of those that NFC has for it, and these.
extern const uint32_t kLongReplacements[];
extern const size_t kLongReplacementsSize;

}  // namespace ulpscope

#endif  // MODEL_TOKENIZER_UNICODE_TABLES_H_
