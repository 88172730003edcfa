#include "model/tokenizer/nfc.h"

#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "model/tokenizer/unicode.h"

namespace ulpscope {
namespace {

std::string Utf8(const std::u32string& text) {
  std::string utf8;
  for (const char32_t c : text) AppendUtf8(c, utf8);
  return utf8;
}

// Cases of Unicode Standard Annex 15 and of its section on Hangul.
TEST(NfcTest, Composes) {
  const struct {
    std::u32string text;
    std::u32string normal;
  } cases[] = {
      {U"e\u0301", U"\u00e9"},
      {U"\u212b", U"\u00c5"},  // a singleton with parts
      {U"A\u0323\u0307", U"\u1ea0\u0307"},
      {U"A\u0307\u0323", U"\u1ea0\u0307"},  // marks are sorted first
      {U"\u1e9b\u0323", U"\u1e9b\u0323"},
      {U"a\u0302\u0301", U"\u1ea5"},        // composes twice
      {U"a\u0301\u0302", U"\u00e1\u0302"},  // the order of a class stays
      {U"\u0958", U"\u0915\u093c"},         // excluded from composition
      {U"\u0344", U"\u0308\u0301"},
      {U"\ufb2c", U"\u05e9\u05bc\u05c1"},
      {U"\U0001d160", U"\U0001d158\U0001d165\U0001d16e"},
      {U"\U0002f800", U"\u4e3d"},
      {U"\u1100\u1161\u11a8", U"\uac01"},
      {U"\uac00\u11a8", U"\uac01"},
      {U"\uac01\u11a8", U"\uac01\u11a8"},  // it has one already
      {U"\u1100\u0300\u1161", U"\u1100\u0300\u1161"},
      {U"e\u0334x\u0301", U"e\u0334x\u0301"},
      {U"\u0301e", U"\u0301e"},
  };
  for (const auto& [text, normal] : cases) {
    const std::string utf8 = Utf8(text);
    EXPECT_EQ(ToNfc(utf8).value_or(utf8), Utf8(normal)) << utf8;
    EXPECT_EQ(ToNfc(utf8).has_value(), text != normal) << utf8;
  }
}

// U+1ACF came with Unicode 14, and has class 230; Hugging Face's NFC takes it
// for a letter of no class, so that the mark behind it stays there.
TEST(NfcTest, LeavesLaterMarksWhereTheyAre) {
  EXPECT_EQ(ToNfc(Utf8(U"a\u1acf\u0323")), std::nullopt);
  EXPECT_NE(ToNfc(Utf8(U"a\u0300\u0323")), std::nullopt);
}

TEST(NfcTest, SortsAMillionMarks) {
  std::u32string text(1'000'000, U'\u0301');
  for (size_t i = 0; i < text.size(); i += 2) text[i] = U'\u0323';
  const std::optional<std::string> normal = ToNfc("x" + Utf8(text));
  ASSERT_TRUE(normal.has_value());
  EXPECT_EQ(normal->substr(0, 5), Utf8(U"x\u0323\u0323"));
}

}  // namespace
}  // namespace ulpscope
