#include "explorer/app/text_stream.h"

#include <cstddef>
#include <string>

#include "gtest/gtest.h"

namespace ulpscope {
namespace {

// Characters of one to four bytes, cut anywhere.
TEST(TextStreamTest, CharactersAreShownWhole) {
  const std::string text = u8"a\u00e9\u20ac\U0001f600z";
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      TextStream stream;
      std::string shown;
      for (const std::string& piece :
           {text.substr(0, first), text.substr(first, second - first),
            text.substr(second)}) {
        shown += stream.Add(piece);
        // A whole number of characters: what comes next begins one.
        EXPECT_TRUE(shown.size() == text.size() ||
                    (text[shown.size()] & 0xC0) != 0x80);
      }
      EXPECT_EQ(shown, text);
      EXPECT_EQ(stream.Rest(), "");
    }
  }
}

TEST(TextStreamTest, WhatIsNoTextIsShownToo) {
  TextStream stream;
  EXPECT_EQ(stream.Add("\xff\x80\x80\x80\x80"), "\xff\x80\x80\x80\x80");
  EXPECT_EQ(stream.Add("b\xe2\x82"), "b");
  EXPECT_EQ(stream.Add(""), "");
  EXPECT_EQ(stream.Rest(), "\xe2\x82");
  EXPECT_EQ(stream.Rest(), "");
}

}  // namespace
}  // namespace ulpscope
