#include "model/tokenizer/pre_tokenizer.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ulpscope {
namespace {

using ::testing::ElementsAreArray;

struct Words {
  const char* text;
  std::vector<std::string> words;
};

void Expect(PreTokenizer how, const std::vector<Words>& cases) {
  for (const auto& [text, words] : cases) {
    std::vector<absl::string_view> found;
    Split(how, text, found);
    EXPECT_THAT(found, ElementsAreArray(words)) << text;
  }
}

TEST(PreTokenizerTest, SplitsAsQwen2) {
  Expect(PreTokenizer::kQwen2,
         {{"", {}},
          {"Hello world", {"Hello", " world"}},
          {"a  b", {"a", " ", " b"}},
          {"a   ", {"a", "   "}},
          {"12 345", {"1", "2", " ", "3", "4", "5"}},
          {"we'LL it's", {"we", "'LL", " it", "'s"}},
          {"x'\u017fa", {"x", "'\u017f", "a"}},  // the long s folds to s
          {"x'rx", {"x", "'rx"}},
          {"x'reX", {"x", "'re", "X"}},
          {"f(x)", {"f", "(x", ")"}},
          {"a !?\n\nb", {"a", " !?\n\n", "b"}},
          {"a \n \n  b", {"a", " \n \n", " ", " b"}},
          {"a\u0085\u2028b", {"a", "\u0085", "\u2028b"}},
          {"\tx", {"\tx"}},
          {"\nx", {"\n", "x"}}});
}

TEST(PreTokenizerTest, SplitsAsLlama3) {
  Expect(PreTokenizer::kLlama3, {{"12345678 9", {"123", "456", "78", " ", "9"}},
                                 {"we'LL", {"we", "'LL"}}});
}

TEST(PreTokenizerTest, SplitsAsSmolLm) {
  Expect(PreTokenizer::kSmolLm,
         {{"Hello world", {"Hello", " world"}},
          {"we'LL we'll", {"we", "'", "LL", " we", "'ll"}},
          {"a 12", {"a", " ", "1", "2"}},
          // The space before a digit is the end of its piece.
          {"a  1", {"a", "  ", "1"}},
          {"a\n\nb", {"a", "\n", "\n", "b"}},
          {"f(x)!", {"f", "(", "x", ")!"}}});
}

}  // namespace
}  // namespace ulpscope
