// Ids of tests/testdata/tokenizer, by Hugging Face's tokenizers.

#include <cstddef>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/chat.h"
#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;

using Json = nlohmann::json;

std::string Path(absl::string_view name) {
  return TestDataPath(absl::StrCat("tokenizer/", name));
}

Tokenizer Loaded(absl::string_view name) {
  absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(Path(name));
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.status();
    std::abort();
  }
  return *std::move(tokenizer);
}

struct Line {
  std::string text;
  std::vector<int32_t> ids;
  std::optional<std::string> normal;
  size_t dropped = 0;
};

std::vector<Line> Lines(absl::string_view kind) {
  std::ifstream file(Path("texts.jsonl"));
  std::vector<Line> lines;
  for (std::string row; std::getline(file, row);) {
    const Json json = Json::parse(row);
    if (json["kind"] != kind) continue;
    Line line{json["text"], json["ids"], std::nullopt,
              json.value("dropped", size_t{0})};
    if (json.contains("normal")) line.normal = json["normal"];
    lines.push_back(line);
  }
  return lines;
}

struct Fixture {
  const char* model;
  const char* kind;
};

class TokenizerFixtureTest : public testing::TestWithParam<Fixture> {};

TEST_P(TokenizerFixtureTest, EncodesAsHuggingFaceDoes) {
  const Tokenizer tokenizer = Loaded(GetParam().model);
  const std::vector<Line> lines = Lines(GetParam().kind);
  ASSERT_GT(lines.size(), 600u);
  size_t changed = 0;
  for (const Line& line : lines) {
    const absl::StatusOr<Encoding> encoding = tokenizer.Encode(line.text);
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    EXPECT_EQ(encoding->ids, line.ids) << line.text;
    if (line.normal) {
      EXPECT_TRUE(encoding->normalized) << line.text;
      ++changed;
    }
    if (line.dropped > 0) {
      EXPECT_EQ(encoding->dropped_bytes, line.dropped) << line.text;
    }
  }
  EXPECT_EQ(changed > 20, GetParam().kind == std::string("qwen2"));
}

TEST_P(TokenizerFixtureTest, DecodesToTheNormalizedText) {
  const Tokenizer tokenizer = Loaded(GetParam().model);
  size_t compared = 0;
  for (const Line& line : Lines(GetParam().kind)) {
    EncodeOptions options;
    options.add_bos = false;
    const absl::StatusOr<Encoding> encoding =
        tokenizer.Encode(line.text, options);
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    const absl::StatusOr<std::string> text = tokenizer.Decode(encoding->ids);
    ASSERT_TRUE(text.ok()) << text.status();
    if (encoding->dropped_bytes > 0) continue;
    if (encoding->normalized && !line.normal) continue;  // piece by piece
    EXPECT_EQ(*text, line.normal.value_or(line.text));
    ++compared;
  }
  EXPECT_GT(compared, 150u);
}

INSTANTIATE_TEST_SUITE_P(Models, TokenizerFixtureTest,
                         testing::Values(Fixture{"qwen2", "qwen2"},
                                         Fixture{"qwen2.gguf", "qwen2"},
                                         Fixture{"qwen2_files", "qwen2"},
                                         Fixture{"llama3", "llama3"},
                                         Fixture{"llama3.gguf", "llama3"},
                                         Fixture{"smollm", "smollm"},
                                         Fixture{"smollm.gguf", "smollm"}),
                         [](const auto& one) {
                           std::string name = one.param.model;
                           for (char& c : name) c = c == '.' ? '_' : c;
                           return name;
                         });

TEST(TokenizerSpecialsTest, AreThoseOfTheFiles) {
  for (const char* model : {"qwen2", "qwen2_files", "qwen2.gguf"}) {
    SCOPED_TRACE(model);
    const Tokenizer tokenizer = Loaded(model);
    const int32_t end = tokenizer.FindToken("<|im_end|>").value_or(-1);
    EXPECT_THAT(tokenizer.eos_ids(), testing::Contains(end));
    EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
    EXPECT_THAT(tokenizer.prefix(), IsEmpty());
    EXPECT_THAT(tokenizer.added_tokens(), SizeIs(5));
    EXPECT_EQ(tokenizer.added_tokens()[2].id, end);
    EXPECT_TRUE(tokenizer.added_tokens()[2].special);
    EXPECT_FALSE(tokenizer.added_tokens()[3].special);
    EXPECT_THAT(tokenizer.TokenBytes(end),
                absl_testing::IsOkAndHolds("<|im_end|>"));
  }
  // generation_config.json names two.
  EXPECT_THAT(Loaded("qwen2").eos_ids(), SizeIs(2));
  EXPECT_THAT(Loaded("qwen2.gguf").eos_ids(), SizeIs(1));
}

TEST(TokenizerSpecialsTest, PaddingOfTheVocabularyIsNoTextsToken) {
  const Tokenizer tokenizer = Loaded("qwen2.gguf");
  const Tokenizer unpadded = Loaded("qwen2");
  EXPECT_EQ(tokenizer.vocab_size(), unpadded.vocab_size() + 3);
  EXPECT_THAT(tokenizer.TokenBytes(tokenizer.vocab_size() - 1),
              absl_testing::IsOkAndHolds("[PAD2]"));
  EXPECT_EQ(tokenizer.Encode("[PAD2]")->ids, unpadded.Encode("[PAD2]")->ids);
}

TEST(TokenizerSpecialsTest, BosComesFirstUnlessItIsNotWanted) {
  for (const char* model : {"llama3", "llama3.gguf"}) {
    SCOPED_TRACE(model);
    const Tokenizer tokenizer = Loaded(model);
    const int32_t bos = tokenizer.FindToken("<|begin_of_text|>").value_or(-1);
    EXPECT_THAT(tokenizer.bos_id(), Optional(bos));
    EXPECT_THAT(tokenizer.Encode("")->ids, ElementsAre(bos));
    EncodeOptions options;
    options.add_bos = false;
    EXPECT_THAT(tokenizer.Encode("", options)->ids, IsEmpty());
  }
  // It has a BOS token, and puts it nowhere.
  EXPECT_NE(Loaded("smollm").bos_id(), std::nullopt);
  EXPECT_THAT(Loaded("smollm").Encode("")->ids, IsEmpty());
}

TEST(TokenizerChatTest, PromptsAreThoseOfTransformers) {
  std::ifstream file(Path("prompts.json"));
  const std::map<std::string, std::string> prompts = Json::parse(file);
  EXPECT_THAT(prompts, SizeIs(3));
  for (const auto& [model, prompt] : prompts) {
    EXPECT_THAT(FormatChatMl(Loaded(model), "Hello"),
                absl_testing::IsOkAndHolds(prompt));
  }
  for (const char* model : {"qwen2", "smollm"}) {
    const Tokenizer gguf = Loaded(absl::StrCat(model, ".gguf"));
    EXPECT_EQ(gguf.chat_template(), Loaded(model).chat_template());
  }
}

TEST(TokenizerChatTest, AnotherTemplateIsRefused) {
  for (const char* model : {"llama3", "llama3.gguf"}) {
    EXPECT_THAT(FormatChatMl(Loaded(model), "Hello"),
                StatusIs(absl::StatusCode::kUnimplemented,
                         HasSubstr("<|start_header_id|>")));
  }
}

}  // namespace
}  // namespace ulpscope
