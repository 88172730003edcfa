#include "model/tokenizer/tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/token_text.h"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::IsOkAndHolds;
using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Merges = std::vector<std::pair<std::string, std::string>>;

// Byte b is token b, then come the products of the merges, then the added ones.
struct Tiny {
  explicit Tiny(Merges merge_list = {}) : merges(std::move(merge_list)) {
    parts.file = "tiny";
    for (int byte = 0; byte < 256; ++byte) {
      parts.tokens.push_back(ByteText(static_cast<uint8_t>(byte)));
    }
    products.reserve(merges.size());
    for (const auto& [first, second] : merges) {
      products.push_back(first + second);
      parts.tokens.push_back(products.back());
      parts.merges.emplace_back(first, second);
    }
  }

  Tiny(const Tiny&) = delete;  // parts are views of products
  Tiny& operator=(const Tiny&) = delete;

  int32_t Add(const std::string& content, bool normalized = false) {
    const int32_t id =
        static_cast<int32_t>(parts.tokens.size() + parts.added.size());
    parts.added.push_back({id, content, true, normalized});
    return id;
  }

  Tokenizer Build() const {
    absl::StatusOr<Tokenizer> tokenizer = Tokenizer::FromParts(parts);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *std::move(tokenizer);
  }

  Merges merges;
  std::vector<std::string> products;
  TokenizerParts parts;
};

// One merge after the other, over the whole word: the definition.
std::vector<int32_t> PlainBpe(const Tiny& tiny, const std::string& word) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.emplace_back(1, c);
  while (true) {
    size_t best = tiny.merges.size();
    size_t at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (size_t rank = 0; rank < best; ++rank) {
        if (tiny.merges[rank] == std::make_pair(symbols[i], symbols[i + 1])) {
          best = rank;
          at = i;
        }
      }
    }
    if (best == tiny.merges.size()) break;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& symbol : symbols) {
    int32_t id = static_cast<uint8_t>(symbol[0]);
    for (size_t i = 0; i < tiny.products.size(); ++i) {
      if (tiny.products[i] == symbol) id = 256 + static_cast<int32_t>(i);
    }
    ids.push_back(id);
  }
  return ids;
}

TEST(TokenizerTest, MergesByRankAndFromTheLeft) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    // Random merges of what there is already.
    std::vector<std::string> symbols = {"a", "b", "c"};
    Merges merges;
    while (merges.size() < 12) {
      const std::string first = symbols[random() % symbols.size()];
      const std::string second = symbols[random() % symbols.size()];
      if (std::count(symbols.begin(), symbols.end(), first + second)) continue;
      symbols.push_back(first + second);
      merges.emplace_back(first, second);
    }
    const Tiny tiny(merges);
    const Tokenizer tokenizer = tiny.Build();
    for (int words = 0; words < 20; ++words) {
      std::string word(random() % 30, ' ');
      for (char& c : word) c = "abc"[random() % 3];
      EXPECT_EQ(tokenizer.Encode(word)->ids, PlainBpe(tiny, word)) << word;
    }
  }
}

TEST(TokenizerTest, LongWordsAreNotQuadratic) {
  Merges merges;
  for (std::string part = "a"; part.size() < 64; part += part) {
    merges.emplace_back(part, part);
  }
  const std::string text(1 << 20, 'a');
  EXPECT_EQ(Tiny(merges).Build().Encode(text)->ids.size(), (1 << 20) / 64);
}

TEST(TokenizerTest, AWordThatIsATokenIsOneIfMergesAreIgnored) {
  Tiny tiny(Merges{{"a", "b"}, {"ab", "c"}});
  tiny.parts.merges.pop_back();
  EXPECT_THAT(tiny.Build().Encode("abc")->ids, ElementsAre(256, 'c'));
  tiny.parts.ignore_merges = true;
  EXPECT_THAT(tiny.Build().Encode("abc")->ids, ElementsAre(257));
  EXPECT_THAT(tiny.Build().Encode("abcd")->ids, ElementsAre(256, 'c', 'd'));
}

TEST(TokenizerTest, BytesWithoutATokenAreCountedEachTime) {
  Tiny tiny(Merges{{"a", "b"}});
  tiny.parts.tokens['x'] = {};
  const Tokenizer tokenizer = tiny.Build();
  const absl::StatusOr<Encoding> encoding = tokenizer.Encode("axb axb axb");
  // The neighbours of what is dropped are neighbours.
  EXPECT_THAT(encoding->ids, ElementsAre(256, ' ', 256, ' ', 256));
  EXPECT_EQ(encoding->dropped_bytes, 3u);
}

TEST(TokenizerTest, InvalidUtf8IsNamedByItsOffset) {
  const Tokenizer tokenizer = Tiny().Build();
  for (const char* bytes :
       {"\x80", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xff", "\xe2\x82"}) {
    EXPECT_THAT(
        tokenizer.Encode("caf\u00e9 " + std::string(bytes)),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("offset 6")))
        << QuotedBytes(bytes);
  }
}

TEST(TokenizerTest, TheLongestOfTheFirstAddedTokensCounts) {
  Tiny tiny;
  const int32_t shorter = tiny.Add("<t>");
  const int32_t longer = tiny.Add("<t>x");
  const Tokenizer tokenizer = tiny.Build();
  EXPECT_THAT(tokenizer.Encode("<<t>x<t><t")->ids,
              ElementsAre('<', longer, shorter, '<', 't'));
  EncodeOptions plain;
  plain.added_tokens = false;
  EXPECT_THAT(tokenizer.Encode("<t>", plain)->ids, ElementsAre('<', 't', '>'));
  EXPECT_EQ(tokenizer.FindToken("<t>"), shorter);
  EXPECT_EQ(tokenizer.FindToken("<t"), std::nullopt);
}

TEST(TokenizerTest, NormalizedTokensAreFoundInTheNormalizedText) {
  Tiny tiny;
  tiny.parts.nfc = true;
  const int32_t raw = tiny.Add("<e\u0301>", /*normalized=*/false);
  const int32_t normalized = tiny.Add("[\u00e9]", /*normalized=*/true);
  const Tokenizer tokenizer = tiny.Build();
  EXPECT_THAT(tokenizer.Encode("<e\u0301>[e\u0301]")->ids,
              ElementsAre(raw, normalized));
  EXPECT_TRUE(tokenizer.Encode("[e\u0301]")->normalized);
  EXPECT_FALSE(tokenizer.Encode("<e\u0301>")->normalized);
}

TEST(TokenizerTest, IdsWithoutATokenAreOutOfRange) {
  Tiny tiny;
  tiny.parts.tokens['x'] = {};
  const Tokenizer tokenizer = tiny.Build();
  EXPECT_EQ(tokenizer.vocab_size(), 256);
  for (const int32_t id : {-1, int32_t{'x'}, 256, INT32_MAX, INT32_MIN}) {
    EXPECT_THAT(tokenizer.Decode({'a', id}),
                StatusIs(absl::StatusCode::kOutOfRange));
    EXPECT_THAT(tokenizer.TokenBytes(id),
                StatusIs(absl::StatusCode::kOutOfRange));
  }
}

TEST(TokenizerTest, CopiesOutliveTheFirst) {
  std::vector<Tokenizer> kept;
  {
    const Tokenizer tokenizer = Tiny(Merges{{"a", "b"}}).Build();
    kept.push_back(tokenizer);
  }
  EXPECT_THAT(kept[0].Decode(kept[0].Encode("abc")->ids), IsOkAndHolds("abc"));
}

TEST(TokenizerTest, NoTokenizerIsNotFound) {
  const std::string folder = TestFolder();
  for (const std::string& path :
       {folder, folder + "/missing", std::string("synthetic:tiny")}) {
    EXPECT_THAT(Tokenizer::Load(path), StatusIs(absl::StatusCode::kNotFound));
  }
}

TEST(TokenTextTest, ShowsHowATextIsSplit) {
  const Tokenizer tokenizer = Tiny(Merges{{"H", "i"}}).Build();
  EXPECT_THAT(TokensText(tokenizer, tokenizer.Encode("Hi \u00e9")->ids),
              IsOkAndHolds("\"Hi\"(256) \" \"(32) \"\\xC3\"(195) "
                           "\"\\xA9\"(169)"));
  EXPECT_THAT(TokensText(tokenizer, {1000}),
              StatusIs(absl::StatusCode::kOutOfRange));
}

TEST(TokenTextTest, EscapesWhatATerminalWouldNotShow) {
  EXPECT_EQ(QuotedBytes("a\n\r\t\"\\"), R"("a\n\r\t\"\\")");
  EXPECT_EQ(QuotedBytes(std::string("\0\x1b[2J", 5)), R"("\u{0}\u{1B}[2J")");
  EXPECT_EQ(QuotedBytes("\u0085\u200b\u202e\ufeff"),
            R"("\u{85}\u{200B}\u{202E}\u{FEFF}")");
  EXPECT_EQ(QuotedBytes("\u00e9\U0001f680"), "\"\u00e9\U0001f680\"");
  EXPECT_EQ(QuotedBytes("\xe2\x82 \xac"), R"("\xE2\x82 \xAC")");
}

}  // namespace
}  // namespace ulpscope
