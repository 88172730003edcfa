#include <sys/stat.h>

#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"
#include "tests/model/files/checkpoint_bytes.h"

namespace ulpscope {
namespace {

using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

using Json = nlohmann::json;

Json TinyJson() {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[std::string(ByteText(static_cast<uint8_t>(byte)))] = byte;
  }
  vocabulary["ab"] = 256;
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  return {
      {"normalizer", {{"type", "NFC"}}},
      {"pre_tokenizer",
       {{"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"},
           {"pattern", {{"Regex", kQwen2Pattern}}},
           {"behavior", "Isolated"},
           {"invert", false}},
          byte_level}}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single",
         {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
        {"special_tokens", {{"<s>", {{"ids", {257}}}}}}}},
      {"decoder", byte_level},
      {"added_tokens", {{{"id", 257}, {"content", "<s>"}, {"special", true}}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"vocab", vocabulary},
        {"merges", {"a b"}}}}};
}

// A folder of its own with these files; its path.
std::string Folder(
    const std::vector<std::pair<std::string, std::string>>& files) {
  static int number = 0;
  const std::string name = absl::StrCat("folder", ++number);
  mkdir(absl::StrCat(TestFolder(), "/", name).c_str(), 0700);
  for (const auto& [file, bytes] : files) {
    WriteTestFile(absl::StrCat(name, "/", file), bytes);
  }
  return absl::StrCat(TestFolder(), "/", name);
}

struct JsonCase {
  const char* pointer;  // what is replaced
  Json value;
  const char* message;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

constexpr auto kRefused = absl::StatusCode::kUnimplemented;

TEST(MalformedTokenizerTest, TheTinyOneIsValid) {
  const auto tokenizer =
      Tokenizer::Load(Folder({{"tokenizer.json", TinyJson().dump()}}));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(tokenizer->Encode("abc")->ids,
              testing::ElementsAre(257, 256, 'c'));
}

TEST(MalformedTokenizerTest, TokenizerJson) {
  const std::vector<JsonCase> cases = {
      {"/model/vocab/ab", -1, "model.vocab"},
      {"/model/vocab/ab", 1.5, "model.vocab"},
      {"/model/vocab/ab", "256", "model.vocab"},
      {"/model/vocab/ab", uint64_t{1} << 40, "model.vocab"},
      {"/model/vocab/ab", 0, "an id of its own"},
      {"/model/vocab", Json::array({1}), "model.vocab"},
      {"/model/vocab", nullptr, "model.vocab"},
      {"/model/merges/0", "a zz", "merge 0"},
      {"/model/merges/0", "a c", "merge 0"},
      {"/model/merges/0", "ab", "model.merges[0]"},
      {"/model/merges/0", "a b c", "model.merges[0]"},
      {"/model/merges/0", Json::array({"a"}), "model.merges[0]"},
      {"/model/merges/0", Json::array({1, 2}), "model.merges[0]"},
      {"/model/merges", Json::array({"a b", "a b"}), "merge 1"},
      {"/model/merges", "a b", "model.merges"},
      {"/model/ignore_merges", 1, "ignore_merges"},
      {"/added_tokens", 5, "added_tokens"},
      {"/added_tokens/0/id", -1, "added_tokens[0].id"},
      {"/added_tokens/0/id", uint64_t{1} << 33, "added_tokens[0].id"},
      {"/added_tokens/0/id", 97, "added token"},
      {"/added_tokens/0/content", "", "added token"},
      {"/added_tokens/0/content", "ab", "added token"},
      {"/added_tokens/0/content", std::string(5000, 'x'), "added token"},
      {"/added_tokens/0/content", nullptr, "added_tokens[0].content"},
      {"/added_tokens/0/special", "yes", "added_tokens[0].special"},
      {"/added_tokens/0", 7, "added_tokens[0]"},
      {"/added_tokens/1", {{"id", 258}, {"content", "<s>"}}, "added token"},
      {"/added_tokens/1", {{"id", 257}, {"content", "<t>"}}, "added token"},
      {"/post_processor/special_tokens/<s>/ids/0", 999, "999"},
      // What is not supported is refused by its name.
      {"/added_tokens/0/lstrip", true, "lstrip", kRefused},
      {"/model", {{"type", "Unigram"}}, "Unigram", kRefused},
      {"/model", nullptr, "model.type", kRefused},
      {"/model/byte_fallback", true, "byte_fallback", kRefused},
      {"/model/dropout", 0.1, "dropout", kRefused},
      {"/model/unk_token", "<unk>", "unk_token", kRefused},
      {"/model/continuing_subword_prefix", "##", "subword", kRefused},
      {"/model/end_of_word_suffix", "</w>", "suffix", kRefused},
      {"/normalizer", {{"type", "NFKC"}}, "NFKC", kRefused},
      {"/normalizer", 3, "normalizer", kRefused},
      {"/pre_tokenizer", nullptr, "pre_tokenizer", kRefused},
      {"/pre_tokenizer", {{"type", "Metaspace"}}, "Metaspace", kRefused},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\w+", "\\\\w+",
       kRefused},
      {"/pre_tokenizer/pretokenizers/0/invert", true, "Split", kRefused},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Removed", "Split", kRefused},
      {"/pre_tokenizer/pretokenizers/1/use_regex", true, "ByteLevel", kRefused},
      {"/pre_tokenizer/pretokenizers/1/add_prefix_space", true, "ByteLevel",
       kRefused},
      {"/pre_tokenizer/pretokenizers/2",
       {{"type", "Punctuation"}},
       "Punctuation",
       kRefused},
      {"/decoder", {{"type", "WordPiece"}}, "WordPiece", kRefused},
      {"/post_processor",
       {{"type", "RobertaProcessing"}},
       "RobertaProcessing",
       kRefused},
      {"/post_processor/single/2",
       {{"SpecialToken", {{"id", "<s>"}}}},
       "after the text",
       kRefused},
      {"/post_processor/single", Json::array(), "no text", kRefused},
      {"/post_processor/single/0", 1, "another piece", kRefused},
      {"/post_processor/special_tokens", nullptr, "without ids", kRefused},
  };
  for (const JsonCase& one : cases) {
    SCOPED_TRACE(absl::StrCat(one.pointer, " ", one.value.dump()));
    Json json = TinyJson();
    json[Json::json_pointer(one.pointer)] = one.value;
    EXPECT_THAT(Tokenizer::Load(Folder({{"tokenizer.json", json.dump()}})),
                StatusIs(one.code, AllOf(HasSubstr("tokenizer.json: "),
                                         HasSubstr(one.message))));
  }
}

TEST(MalformedTokenizerTest, TruncatedTokenizerJson) {
  const std::string json = TinyJson().dump();
  for (size_t size = 1; size < json.size(); size += 37) {
    EXPECT_THAT(
        Tokenizer::Load(Folder({{"tokenizer.json", json.substr(0, size)}})),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 HasSubstr("tokenizer.json")));
  }
}

TEST(MalformedTokenizerTest, FilesBesideIt) {
  const struct {
    const char* file;
    const char* text;
    const char* message;
  } cases[] = {
      {"tokenizer_config.json", "{", "not valid JSON"},
      {"tokenizer_config.json", R"({"eos_token": 3})", "eos_token"},
      {"tokenizer_config.json", R"({"eos_token": "<e>"})", "eos_token"},
      {"tokenizer_config.json", R"({"bos_token": {"content": 1}})",
       "bos_token"},
      {"tokenizer_config.json", R"({"chat_template": 1})", "chat_template"},
      {"generation_config.json", R"({"eos_token_id": -1})", "eos_token_id"},
      {"generation_config.json", R"({"eos_token_id": [257, "x"]})",
       "eos_token_id"},
      {"config.json", R"({"eos_token_id": 9999})", "9999"},
  };
  for (const auto& [file, text, message] : cases) {
    EXPECT_THAT(
        Tokenizer::Load(
            Folder({{"tokenizer.json", TinyJson().dump()}, {file, text}})),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)))
        << file << " " << text;
  }
}

TEST(MalformedTokenizerTest, VocabularyAndMerges) {
  const std::string vocabulary = TinyJson()["model"]["vocab"].dump();
  const std::string merges = "#version: 0.2\na b\n";
  const std::string config =
      R"({"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": )"
      R"({"257": {"content": "<s>"}}})";
  const auto load = [](const std::string& v, const std::string& m,
                       const std::string& c) {
    return Tokenizer::Load(Folder(
        {{"vocab.json", v}, {"merges.txt", m}, {"tokenizer_config.json", c}}));
  };
  ASSERT_TRUE(load(vocabulary, merges, config).ok());
  const auto invalid = [](const char* message) {
    return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message));
  };
  EXPECT_THAT(load("{\"a\": []}", merges, config), invalid("vocab.json"));
  EXPECT_THAT(load(vocabulary, "a b\nab\n", config), invalid("line 2"));
  EXPECT_THAT(load(vocabulary, "a zz\n", config), invalid("zz"));
  EXPECT_THAT(
      load(vocabulary, merges, R"({"tokenizer_class": "Qwen2Tokenizer"})"),
      invalid("added_tokens_decoder"));
  EXPECT_THAT(load(vocabulary, merges,
                   R"({"tokenizer_class": "Qwen2Tokenizer",
                       "added_tokens_decoder": {"x": {"content": "<s>"}}})"),
              invalid("added_tokens_decoder"));
  // These do not say which pre-tokenizer theirs is.
  EXPECT_THAT(
      load(vocabulary, merges, R"({"tokenizer_class": "GPT2Tokenizer"})"),
      StatusIs(kRefused, HasSubstr("GPT2Tokenizer")));
  EXPECT_THAT(load(vocabulary, merges, "{}"),
              StatusIs(kRefused, HasSubstr("tokenizer_class")));
}

// GGUF's types of values.
constexpr uint32_t kUint32 = 4, kInt32 = 5, kBool = 7, kString = 8, kArray = 9,
                   kUint64 = 10;

std::string Strings(const std::vector<std::string>& texts) {
  std::string bytes = Encode32(kString) + Encode64(texts.size());
  for (const std::string& text : texts) bytes += GgufText(text);
  return bytes;
}

std::string Integers(const std::vector<int32_t>& values) {
  std::string bytes = Encode32(kInt32) + Encode64(values.size());
  for (const int32_t value : values) {
    bytes += Encode32(static_cast<uint32_t>(value));
  }
  return bytes;
}

// The metadata of a tokenizer, any of which a test can spoil.
struct TinyGgufTokenizer {
  TinyGgufTokenizer() {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) {
      tokens.emplace_back(ByteText(static_cast<uint8_t>(byte)));
    }
    tokens.insert(tokens.end(), {"ab", "<s>"});
    std::vector<int32_t> types(258, 1);
    types[257] = 3;
    Set("model", kString, GgufText("gpt2"));
    Set("pre", kString, GgufText("llama-bpe"));
    Set("tokens", kArray, Strings(tokens));
    Set("token_type", kArray, Integers(types));
    Set("merges", kArray, Strings({"a b"}));
    Set("bos_token_id", kUint32, Encode32(257));
  }

  void Set(const std::string& key, uint32_t type, const std::string& value) {
    values[key] = GgufEntry("tokenizer.ggml." + key, type, value);
  }

  std::string Bytes() const {
    GgufParts parts;
    for (const auto& [key, entry] : values) parts.values.push_back(entry);
    return parts.Bytes();
  }

  std::map<std::string, std::string> values;
};

absl::StatusOr<Tokenizer> LoadGguf(const std::string& bytes) {
  return Tokenizer::Load(WriteTestFile("model.gguf", bytes));
}

TEST(MalformedTokenizerTest, TheTinyGgufIsValid) {
  const auto tokenizer = LoadGguf(TinyGgufTokenizer().Bytes());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(tokenizer->Encode("abc")->ids,
              testing::ElementsAre(257, 256, 'c'));
}

TEST(MalformedTokenizerTest, Gguf) {
  const std::vector<std::string> tokens258(258, "a");
  std::vector<int32_t> types(258, 1);
  const struct {
    const char* key;
    uint32_t type;
    std::string value;
    absl::StatusCode code;
    const char* message = nullptr;  // where it does not name the key
  } cases[] = {
      {"model", kString, GgufText("llama"), kRefused},
      {"model", kUint32, Encode32(1), absl::StatusCode::kInvalidArgument},
      {"pre", kString, GgufText("deepseek-llm"), kRefused},
      {"pre", kString, GgufText("gpt-2"), kRefused},
      {"pre", kString, GgufText("default"), kRefused},
      {"tokens", kString, GgufText("a"), absl::StatusCode::kInvalidArgument},
      {"tokens", kArray, Integers(types), absl::StatusCode::kInvalidArgument},
      {"tokens", kArray, Strings({"a"}), absl::StatusCode::kInvalidArgument},
      {"tokens", kArray, Strings(tokens258), absl::StatusCode::kInvalidArgument,
       "token \"a\""},
      {"tokens", kArray, Encode32(kString) + Encode64(uint64_t{1} << 60),
       absl::StatusCode::kInvalidArgument},
      {"token_type", kArray, Strings(tokens258),
       absl::StatusCode::kInvalidArgument},
      {"token_type", kArray, Integers(std::vector<int32_t>(258, 6)), kRefused},
      {"token_type", kArray, Integers(std::vector<int32_t>(258, -1)), kRefused},
      {"merges", kArray, Strings({"ab"}), absl::StatusCode::kInvalidArgument},
      {"merges", kArray, Strings({"a zz"}), absl::StatusCode::kInvalidArgument,
       "merge 0"},
      {"merges", kArray, Strings({"a b", "a b"}),
       absl::StatusCode::kInvalidArgument, "merge 1"},
      {"merges", kArray, Integers({1}), absl::StatusCode::kInvalidArgument},
      {"bos_token_id", kUint32, Encode32(258),
       absl::StatusCode::kInvalidArgument},
      {"bos_token_id", kInt32, Encode32(0xffffffff),
       absl::StatusCode::kInvalidArgument},
      {"bos_token_id", kString, GgufText("x"),
       absl::StatusCode::kInvalidArgument},
      {"eos_token_id", kUint64, Encode64(UINT64_MAX),
       absl::StatusCode::kInvalidArgument},
      {"add_bos_token", kUint32, Encode32(1),
       absl::StatusCode::kInvalidArgument},
      {"add_eos_token", kBool, "\x01", kRefused},
      {"add_space_prefix", kBool, "\x01", kRefused},
  };
  for (const auto& [key, type, value, code, message] : cases) {
    TinyGgufTokenizer tiny;
    tiny.Set(key, type, value);
    EXPECT_THAT(LoadGguf(tiny.Bytes()),
                StatusIs(code, AllOf(HasSubstr("model.gguf"),
                                     HasSubstr(message ? message : key))))
        << key << " " << value.substr(0, 20);
  }
}

TEST(MalformedTokenizerTest, GgufWithoutAnEntry) {
  for (const char* key :
       {"pre", "tokens", "token_type", "merges", "bos_token_id"}) {
    TinyGgufTokenizer tiny;
    tiny.values.erase(key);
    const absl::Status status = LoadGguf(tiny.Bytes()).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(key));
    EXPECT_FALSE(absl::IsNotFound(status));
  }
  TinyGgufTokenizer tiny;
  tiny.values.erase("model");
  EXPECT_THAT(LoadGguf(tiny.Bytes()), StatusIs(absl::StatusCode::kNotFound));
}

TEST(MalformedTokenizerTest, TruncatedGguf) {
  const std::string bytes = TinyGgufTokenizer().Bytes();
  // Without its last bytes, padding, the file is whole.
  for (size_t size = 1; size + 64 < bytes.size(); size += 41) {
    EXPECT_THAT(
        LoadGguf(bytes.substr(0, size)),
        StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model.gguf")));
  }
}

// Any byte of a committed file changed: a status or a tokenizer, no crash.
TEST(MalformedTokenizerTest, SpoiledBytes) {
  for (const char* name : {"smollm/tokenizer.json", "smollm.gguf"}) {
    std::ifstream file(TestDataPath(absl::StrCat("tokenizer/", name)));
    std::stringstream stream;
    stream << file.rdbuf();
    const std::string valid = stream.str();
    ASSERT_GT(valid.size(), 10000u);
    const bool gguf = absl::string_view(name) == "smollm.gguf";
    for (size_t at = 0; at < valid.size(); at += 53) {
      std::string bytes = valid;
      bytes[at] = static_cast<char>(bytes[at] + 1 + at % 255);
      const absl::StatusOr<Tokenizer> tokenizer =
          gguf ? LoadGguf(bytes)
               : Tokenizer::Load(Folder({{"tokenizer.json", bytes}}));
      if (!tokenizer.ok()) continue;
      const absl::StatusOr<Encoding> encoding =
          tokenizer->Encode("Hello \u00e9");
      ASSERT_TRUE(encoding.ok());
      EXPECT_TRUE(tokenizer->Decode(encoding->ids).ok());
    }
  }
}

}  // namespace
}  // namespace ulpscope
